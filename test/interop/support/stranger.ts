import { toHex } from '../../../src/core/bytes/index.ts';
import { keyExchange } from '../../../src/core/crypto/index.ts';
import { ExchangeType, writeMessage } from '../../../src/core/wire/index.ts';
import { ikeProposal } from '../../../src/testing/policies.ts';
import type { Host } from './network.ts';
import { must } from './process.ts';

/** Sends one IKE_SA_INIT request from a host to its peer, and never anything more: what it leaves there is a half-open IKE SA. */
export async function leaveHalfOpen(from: Host, ike: string): Promise<void> {
  const message = writeMessage(
    {
      spiI: new Uint8Array(8).fill(0x5e),
      spiR: new Uint8Array(8),
      majorVersion: 2,
      minorVersion: 0,
      exchange: ExchangeType.IKE_SA_INIT,
      messageId: 0,
      flags: { initiator: true, response: false, version: false },
    },
    [
      { kind: 'SA', proposals: [ikeProposal(ike)] },
      { kind: 'KE', method: CURVE25519, data: keyExchange(CURVE25519)!.offer().publicValue },
      { kind: 'Nonce', data: new Uint8Array(32).fill(7) },
    ],
  );
  await must('ip', ['netns', 'exec', from.namespace, process.execPath, '--eval', SENDER, from.peerAddress, toHex(message)]);
}

const SENDER = `
const [address, message] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
socket.send(Buffer.from(message, 'hex'), 500, address, () => socket.close());`;
const CURVE25519 = 31;

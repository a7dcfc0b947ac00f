import { keyExchange } from '../../../src/core/crypto/index.ts';
import type { Datagram } from '../../../src/core/ike/index.ts';
import {
  ExchangeType,
  type IkeHeader,
  type Message,
  type Payload,
  type Proposal,
  parseMessage,
  writeMessage,
} from '../../../src/core/wire/index.ts';
import { type End, IKE_PROPOSAL } from '../../core/ike/two-ends.ts';

export const LEFT = { ip: '192.0.2.1', port: 500 };
export const RIGHT = { ip: '192.0.2.2', port: 500 };

/** Hands octets to `right` as if they came from `left`'s address. @returns what it answered */
export function tell(end: End, data: Uint8Array, now = 0, remote = LEFT): Uint8Array[] {
  end.endpoint.receive({ local: RIGHT, remote, data, encap: false }, now);
  return end.drain(now).map((datagram: Datagram) => datagram.data);
}

export const parsed = (answers: readonly Uint8Array[]): Message[] => answers.map(parseMessage);

export const requestHeader = (spiI: Uint8Array, changes: Partial<IkeHeader> = {}): IkeHeader => ({
  spiI,
  spiR: new Uint8Array(8),
  majorVersion: 2,
  minorVersion: 0,
  exchange: ExchangeType.IKE_SA_INIT,
  messageId: 0,
  flags: { initiator: true, response: false, version: false },
  ...changes,
});

/** SA, KE and Nonce of an IKE_SA_INIT request as one would send it. */
export function initPayloads(
  changes: { readonly proposals?: readonly Proposal[]; readonly method?: number; readonly ke?: Uint8Array } = {},
): Payload[] {
  const method = changes.method ?? 31;
  return [
    { kind: 'SA', proposals: changes.proposals ?? [IKE_PROPOSAL] },
    { kind: 'KE', method, data: changes.ke ?? keyExchange(method)!.offer().publicValue },
    { kind: 'Nonce', data: new Uint8Array(32).fill(7) },
  ];
}

let spis = 0;

/** Never the same SPIi twice. */
export function freshSpi(): Uint8Array {
  const spi = new Uint8Array(8);
  new DataView(spi.buffer).setUint32(4, ++spis);
  spi[0] = 0x5e;
  return spi;
}

export const initMessage = (payloads: readonly Payload[], spiI = freshSpi()): Uint8Array => writeMessage(requestHeader(spiI), payloads);

/** A payload of any type with any octets as its body. */
export const anyPayload = (type: number, data: Uint8Array, critical = false): Payload => ({ kind: 'unknown', type, data, critical });

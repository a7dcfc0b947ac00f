// Begins many IKE SAs with one responder and keeps them: the core itself, with a socket and nothing else around it.
//   initiator LOCAL REMOTE SECRET FIRST COUNT       says {"established": COUNT} when all stand, then waits for the end of its input
import { createSocket } from 'node:dgram';
import process from 'node:process';
import { prf, systemRandom } from '../../src/core/crypto/index.ts';
import type { Ask, AskResult, Effect } from '../../src/core/ike/effects.ts';
import { Endpoint } from '../../src/core/ike/index.ts';
import { AuthMethod } from '../../src/core/wire/index.ts';
import { compile, configFrom, DEFAULT_LIMITS } from '../../src/product/config/index.ts';

const [local = '', remote = '', secret = '', first = '0', count = '1'] = process.argv.slice(2);
const PORT = 4500;
const MARKER = new Uint8Array(4);
/** IKE SAs under way at once: enough to keep the responder busy, too few to overrun its socket. */
const AT_ONCE = 64;

const names = Array.from({ length: Number(count) }, (_, i) => Number(first) + i);
const { connections } = compile(
  configFrom({ connections: Object.fromEntries(names.map((n) => [`n${n}`, connection(n)])), secrets: { any: { kind: 'psk', secret } } }),
);
const endpoint = new Endpoint({
  connections,
  limits: { ...DEFAULT_LIMITS, ikeSas: 1e6 },
  random: systemRandom(),
  ports: { ike: PORT, nat: PORT },
  forceEncap: true,
});
const waiting = connections.map(({ name }) => name);
let established = 0;

const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
socket.on('message', (data, { address, port }) => {
  if (data.length < MARKER.length || data.readUInt32BE(0) !== 0) return;
  endpoint.receive(
    { local: { ip: local, port: PORT }, remote: { ip: address, port }, data: new Uint8Array(data.subarray(4)), encap: true },
    performance.now(),
  );
  drain();
});
socket.bind(PORT, local, () => {
  for (let i = 0; i < AT_ONCE; i++) begin();
  setInterval(() => {
    endpoint.expire(performance.now());
    drain();
  }, 100);
});
process.stdin.resume().once('end', () => process.exit(0));

function begin(): void {
  const name = waiting.shift();
  if (name !== undefined) endpoint.command({ kind: 'initiate', connection: name }, performance.now());
  drain();
}

function drain(): void {
  for (let effect: Effect | undefined = endpoint.poll(); effect; effect = endpoint.poll()) perform(effect);
}

function perform(effect: Effect): void {
  if (effect.kind === 'transmit') socket.send([MARKER, effect.datagram.data], effect.datagram.remote.port, effect.datagram.remote.ip);
  else if (effect.kind === 'ask') endpoint.answer(effect.id, answer(effect.ask), performance.now());
  else if (effect.kind === 'notice' && effect.notice.kind === 'child-up') {
    if (++established === names.length) process.stdout.write(`${JSON.stringify({ established })}\n`);
    queueMicrotask(begin);
  } else if (effect.kind === 'notice' && (effect.notice.kind === 'ike-down' || effect.notice.kind === 'failed')) {
    process.stderr.write(`${effect.notice.error?.message ?? 'ended'}\n`);
    process.exit(1);
  }
}

function answer(ask: Ask): AskResult {
  if (ask.kind === 'verify') return { ok: true, connection: ask.candidates[0]!.connection, description: 'psk' };
  if (ask.kind !== 'authenticate') return { ok: true };
  const f = prf(ask.prf)!;
  const id = ask.auth.id!;
  // RFC 7296 §2.15.
  const data = f.compute(f.compute(new TextEncoder().encode(secret), new TextEncoder().encode('Key Pad for IKEv2')), ask.octets(id));
  return { ok: true, id, method: AuthMethod.SHARED_KEY_MIC, data, certificates: [] };
}

function connection(n: number): object {
  return {
    local_addrs: local,
    remote_addrs: remote,
    remote_port: PORT,
    remote_nat_port: PORT,
    proposals: 'aes128gcm16-prfsha256-x25519',
    local: { auth: 'psk', id: `client-${n}.example` },
    remote: { auth: 'psk' },
    dpd_delay: '0',
    nat_keepalive: '0',
    rekey_time: '0',
    children: {
      net: { local_ts: `10.1.${n >> 8}.${n & 255}/32`, remote_ts: '10.2.0.0/24', esp_proposals: 'aes128gcm16', rekey_time: '0' },
    },
  };
}

// Plays many peers at once for one responder: the core itself, with a socket and nothing else around it.
//   initiator PLAN      PLAN as JSON; says {"done": COUNT} when that is reached, then keeps what stands until the end of its input
import { createSocket } from 'node:dgram';
import process from 'node:process';
import { prf, systemRandom } from '../../src/core/crypto/index.ts';
import type { Ask, AskResult, Effect, Notice } from '../../src/core/ike/effects.ts';
import { Endpoint } from '../../src/core/ike/index.ts';
import { AuthMethod, ExchangeType } from '../../src/core/wire/index.ts';
import { compile, configFrom, DEFAULT_LIMITS } from '../../src/product/config/index.ts';
import type { Plan } from './plan.ts';

const plan = JSON.parse(process.argv[2] ?? '') as Plan;
const PORT = 4500;
const MARKER = new Uint8Array(4);
/** Peers of one endpoint. */
const OF_ONE = 100;
/** Under way at once: enough to keep the responder busy, too few to overrun its socket. */
const AT_ONCE = 64;

const names = Array.from({ length: plan.peers }, (_, i) => plan.first + i);
const { connections } = compile(
  configFrom({
    connections: Object.fromEntries(names.map((n) => [`n${n}`, connection(n)])),
    secrets: { any: { kind: 'psk', secret: plan.secret } },
  }),
);
/** Each plays some of the peers: to an endpoint they are many IKE SAs with one and the same peer, all of which it looks at for each new one. */
const endpoints = Array.from(
  { length: Math.ceil(connections.length / OF_ONE) },
  (_, i) =>
    new Endpoint({
      connections: connections.slice(i * OF_ONE, (i + 1) * OF_ONE),
      limits: { ...DEFAULT_LIMITS, ikeSas: 1e6 },
      random: systemRandom(),
      ports: { ike: PORT, nat: PORT },
      forceEncap: true,
    }),
);
/** By the initiator's SPI. */
const endpointOf = new Map<bigint, Endpoint>();
/** Connections, by their number. */
let begun = 0;
/** CHILD_SAs that came up, those that replace others as well. */
let made = 0;
let done = 0;

const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
socket.on('message', (data, { address, port }) => {
  if (data.length < MARKER.length || data.readUInt32BE(0) !== 0) return;
  if (plan.what === 'cookies') return oneMore(sendFirst);
  const endpoint = data.length < 12 ? undefined : endpointOf.get(data.readBigUInt64BE(4));
  endpoint?.receive(
    { local: { ip: plan.local, port: PORT }, remote: { ip: address, port }, data: new Uint8Array(data.subarray(4)), encap: true },
    performance.now(),
  );
  if (endpoint) drain(endpoint);
});
socket.bind(PORT, plan.local, () => {
  for (let i = 0; i < AT_ONCE; i++) begin();
  setInterval(() => {
    // a datagram that got lost is not waited for
    if (plan.what === 'cookies' && done === seen) for (let i = 0; i < AT_ONCE; i++) sendFirst();
    seen = done;
    if (plan.what === 'cookies') return;
    for (const endpoint of endpoints) {
      endpoint.expire(performance.now());
      drain(endpoint);
    }
  }, 100);
});
process.stdin.resume().once('end', () => process.exit(0));

function begin(): void {
  if (begun === connections.length) return;
  const endpoint = endpoints[Math.floor(begun / OF_ONE)]!;
  const { name } = connections[begun++]!;
  endpoint.command({ kind: 'initiate', connection: name }, performance.now());
  drain(endpoint);
}

function drain(endpoint: Endpoint): void {
  for (let effect: Effect | undefined = endpoint.poll(); effect; effect = endpoint.poll()) perform(endpoint, effect);
}

function perform(endpoint: Endpoint, effect: Effect): void {
  if (effect.kind === 'transmit') transmit(endpoint, effect.datagram.data, effect.datagram.remote);
  else if (effect.kind === 'ask') endpoint.answer(effect.id, answer(effect.ask), performance.now());
  else if (effect.kind === 'notice') heed(endpoint, effect.notice);
}

function heed(endpoint: Endpoint, notice: Notice): void {
  if (notice.kind === 'ike-down' || notice.kind === 'failed') {
    process.stderr.write(`${notice.error?.message ?? 'ended'}\n`);
    process.exit(1);
  } else if (notice.kind === 'child-up') {
    made++;
    if (plan.what === 'rekeyings') {
      // the first of each peer is made, not rekeyed
      if (made > plan.peers) oneMore();
      if (begun < connections.length) queueMicrotask(begin);
      else if (done < plan.count) queueMicrotask(() => rekey(endpoint, notice.child));
    } else oneMore(begin);
  }
}

function rekey(endpoint: Endpoint, child: number): void {
  endpoint.command({ kind: 'rekey-child', child }, performance.now());
  drain(endpoint);
}

function transmit(endpoint: Endpoint, data: Uint8Array, { ip, port }: { readonly ip: string; readonly port: number }): void {
  endpointOf.set(new DataView(data.buffer, data.byteOffset).getBigUint64(0), endpoint);
  const auth = data[18] === ExchangeType.IKE_AUTH;
  // nobody goes on from there, so it stays half open
  if (plan.what === 'half-open' && auth) return oneMore(begin);
  if (plan.what === 'cookies') {
    first ??= data.slice();
    return sendFirst();
  }
  socket.send([MARKER, data], port, ip);
}

/** One IKE_SA_INIT under ever other SPIs: nothing is computed here, so that the responder is what is measured. */
function sendFirst(): void {
  if (first === undefined) return;
  const copy = first.slice();
  new DataView(copy.buffer).setUint32(0, ++sent);
  socket.send([MARKER, copy], PORT, plan.remote);
}

function oneMore(then: () => void = () => undefined): void {
  if (++done === plan.count) process.stdout.write(`${JSON.stringify({ done })}\n`);
  if (done < plan.count) queueMicrotask(then);
}

function answer(ask: Ask): AskResult {
  if (ask.kind === 'verify') return { ok: true, connection: ask.candidates[0]!.connection, description: 'psk' };
  if (ask.kind !== 'authenticate') return { ok: true };
  const f = prf(ask.prf)!;
  const id = ask.auth.id!;
  const utf8 = new TextEncoder();
  // RFC 7296 §2.15.
  const data = f.compute(f.compute(utf8.encode(plan.secret), utf8.encode('Key Pad for IKEv2')), ask.octets(id));
  return { ok: true, id, method: AuthMethod.SHARED_KEY_MIC, data, certificates: [] };
}

function connection(n: number): object {
  return {
    local_addrs: plan.local,
    remote_addrs: plan.remote,
    remote_port: PORT,
    remote_nat_port: PORT,
    proposals: plan.suite,
    local: { auth: 'psk', id: `client-${n}.example` },
    remote: { auth: 'psk' },
    dpd_delay: '0',
    nat_keepalive: '0',
    transport: 'udp',
    rekey_time: '0',
    children: {
      net: { local_ts: `10.1.${n >> 8}.${n & 255}/32`, remote_ts: '10.2.0.0/24', esp_proposals: plan.esp, rekey_time: '0' },
    },
  };
}

let first: Uint8Array | undefined;
let sent = 0;
let seen = 0;

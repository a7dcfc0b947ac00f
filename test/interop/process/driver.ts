// Our end of a tunnel as a process of its own, over the public library. Requests and answers are lines of JSON.
//   driver client|gateway CONFIGURATION [quiet]
// request   {"id": 1, "method": "up", …}      answer {"id": 1, "result": …} or {"id": 1, "error": {"code", "message", "hint"}}
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { deserialize, serialize } from 'node:v8';
import { type Client, compile, createClient, createGateway, type Gateway, loadConfig, TunnelwrightError } from 'tunnelwright';
import { takeObjectRoom } from '../../../src/host/platform/linux/object-room.ts';
import { Flow } from './flow.ts';
import { type Exchanged, exchangeOctets } from './octets.ts';

const [role, file = '', quiet] = process.argv.slice(2);
const CONNECTION = 'net';
/** A minute of them. */
const PINGS = 600;

interface Request {
  readonly id: number;
  readonly method: string;
  readonly to?: string;
  readonly count?: number;
  readonly port?: number;
  readonly octets?: number;
  /** Octets each second. */
  readonly pace?: number;
}

// as `serve` does
if (role === 'gateway') await takeObjectRoom();
const end = await start();
const failures: object[] = [];
const noticed: Record<string, number> = {};
end.onNotice(({ at, notice }) => {
  noticed[notice.kind] = (noticed[notice.kind] ?? 0) + 1;
  if ((notice.kind === 'ike-down' || notice.kind === 'failed') && notice.error) failures.push(tell(notice.error));
  if (quiet === undefined && notice.kind !== 'ike-keys') process.stderr.write(`${JSON.stringify({ at, ...notice }, readable)}\n`);
});
const served = new Map<number, Promise<Exchanged>>();
const flows = new Map<number, Flow>();
const METHODS: Readonly<Record<string, (request: Request) => Promise<unknown>>> = {
  up: async () => ({ took: (await end.up({ connection: CONNECTION })).took }),
  established: async () => end.ikeSas().filter(({ state }) => state === 'established').length,
  sas: async () => end.ikeSas().map(describe),
  rekeyChild: () => end.rekey({ child: onlyChild().id }),
  rekeyIke: () => end.rekey({ ikeSa: onlyIkeSa().id }),
  reauthenticate: () => end.rekey({ ikeSa: onlyIkeSa().id, reauth: true }),
  testRekey,
  assigned: async () => onlyIkeSa().assigned,
  names: async () => onlyIkeSa().splitDns,
  addresses: async () => [onlyIkeSa().local.ip, onlyIkeSa().remote.ip],
  ends: async () => ({ local: onlyIkeSa().local, remote: onlyIkeSa().remote, transport: onlyIkeSa().transport ?? 'udp' }),
  noticed: async () => noticed,
  remotePort: async () => end.ikeSas().find(({ state }) => state === 'established')?.remote.port ?? 0,
  redirect: ({ to = '' }) => end.redirect({ ikeSa: onlyIkeSa().id, to }),
  deleteChild: () => end.down({ child: onlyChild().id }),
  deleteIke: () => end.down({ ikeSa: onlyIkeSa().id }),
  forgetAll: () => end.down({ all: true, force: true }),
  /** What this process knows now, for one that takes over with the same configuration. */
  keep: async () => writeFileSync(`${file}.kept`, serialize(end.engine.snapshot()), { mode: 0o600 }),
  takeOver: async () => end.engine.restore(deserialize(readFileSync(`${file}.kept`))),
  failures: async () => failures.splice(0),
  ping,
  pingUntilAnswered,
  listen,
  served: ({ port = 0 }) => served.get(port)!,
  connect: async ({ to = '', port = 0, octets = 0 }) =>
    exchangeOctets(await end.inside.connect({ host: to, port, allowHalfOpen: true, timeout: 60_000 }), octets, 0xfeed),
  listenFlow: async ({ port = 0, pace = 0 }) => {
    const server = end.inside.listen({ port, allowHalfOpen: true }, (socket) => {
      server.close();
      flows.set(port, new Flow(socket, 0x5eed, pace));
    });
  },
  connectFlow: async ({ to = '', port = 0, pace = 0 }) => {
    flows.set(port, new Flow(await end.inside.connect({ host: to, port, allowHalfOpen: true, timeout: 60_000 }), 0xfeed, pace));
  },
  flowed: async ({ port = 0 }) => flows.get(port)?.octetsReceived ?? 0,
  endFlow: async ({ port = 0 }) => {
    flows.get(port)!.stop();
    return flows.get(port)!.done;
  },
  memory: async () => {
    globalThis.gc?.();
    return process.memoryUsage();
  },
};

say({ ready: true, listen: end.facts().listen, at: Date.now() });
for await (const line of createInterface({ input: process.stdin })) void answer(JSON.parse(line) as Request);
await end.close(2000);
process.exit(0);

async function start(): Promise<Client | Gateway> {
  const config = compile(loadConfig(readFileSync(file, 'utf8'), { file, directory: dirname(file) }));
  if (role === 'client') return createClient({ config });
  const gateway = await createGateway({ config });
  await gateway.listen();
  return gateway;
}

async function answer(request: Request): Promise<void> {
  const { id, method } = request;
  try {
    say({ id, result: (await METHODS[method]!(request)) ?? null });
  } catch (error) {
    say({ id, error: tell(error) });
  }
}

function tell(error: unknown): object {
  if (!(error instanceof TunnelwrightError)) return { message: String(error) };
  const { name, code, message, hint } = error;
  return { type: name, code, message, hint, ...('notify' in error ? { notify: error.notify } : {}) };
}

async function ping({ to = '', count = 1 }: Request): Promise<number> {
  let answers = 0;
  for (let i = 0; i < count; i++) {
    await end.inside.ping(to, { timeout: 5000 }).then(
      () => answers++,
      () => undefined,
    );
  }
  return answers;
}

/** One after the other, ten each second, whatever becomes of those before. @returns when the first was answered, by the clock on the wall */
function pingUntilAnswered({ to = '' }: Request): Promise<number> {
  return new Promise((resolve, reject) => {
    let left = PINGS;
    const timer = setInterval(() => {
      end.inside.ping(to, { timeout: 5000 }).then(
        () => {
          clearInterval(timer);
          resolve(Date.now());
        },
        () => undefined,
      );
      if (--left > 0) return;
      clearInterval(timer);
      reject(new Error(`${to} did not answer ${PINGS} pings`));
    }, 100);
  });
}

async function testRekey(): Promise<object[]> {
  const outcomes: object[] = [];
  const off = end.onNotice(({ notice }) => {
    if (notice.kind === 'rekey-tested')
      outcomes.push({ what: notice.what, suite: notice.suite, error: notice.error && tell(notice.error) });
  });
  await end.up({ connection: CONNECTION, testRekey: true });
  off();
  return outcomes;
}

async function listen({ port = 0, octets = 0 }: Request): Promise<void> {
  const exchanged = new Promise<Exchanged>((resolve, reject) => {
    const server = end.inside.listen({ port, allowHalfOpen: true }, (socket) => {
      server.close();
      exchangeOctets(socket, octets, 0x5eed).then(resolve, reject);
    });
  });
  exchanged.catch(() => undefined);
  served.set(port, exchanged);
}

function onlyIkeSa() {
  return end.ikeSas().find(({ state }) => state === 'established')!;
}

function onlyChild() {
  return onlyIkeSa().children.find(({ state }) => state === 'installed')!;
}

function describe(sa: ReturnType<typeof onlyIkeSa>) {
  const { id, state, spiI, spiR, remoteId, suite } = sa;
  const children = sa.children.map(({ id: child, name, state: its, inboundSpi, outboundSpi, suite: childSuite, counters }) => ({
    id: child,
    name,
    state: its,
    inboundSpi,
    outboundSpi,
    suite: childSuite,
    octetsIn: counters?.inbound.bytes ?? 0,
    octetsOut: counters?.outbound.bytes ?? 0,
  }));
  return {
    id,
    state,
    spiI: hex(spiI),
    spiR: hex(spiR),
    remoteId: remoteId ? new TextDecoder().decode(remoteId.data) : '',
    suite,
    children,
  };
}

function hex(octets: Uint8Array): string {
  return Buffer.from(octets).toString('hex');
}

function readable(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value);
  return value instanceof Error ? value.message : value;
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

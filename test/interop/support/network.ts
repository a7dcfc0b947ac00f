import { spawnSync } from 'node:child_process';
import { must } from './process.ts';
import type { Scope } from './scope.ts';

/** One end of the link: a network namespace with an outer address that the other end reaches, and a name for what lies behind it. */
export interface Host {
  readonly namespace: string;
  readonly device: string;
  readonly address: string;
  readonly peerAddress: string;
  /** The protected network behind this host and the address in it that the tests use. */
  readonly network: string;
  readonly inside: string;
}

export interface Network {
  readonly left: Host;
  readonly right: Host;
  /** From now on every packet is lost in silence, as on a path that broke; both devices stay up. */
  cut(): Promise<void>;
  mend(): Promise<void>;
  /** From now on packets wait, in both directions, until `release`: so both ends can speak before either hears the other. */
  hold(): Promise<void>;
  /** Whether a packet of this end waits to be released. */
  holds(end: Host): Promise<boolean>;
  release(): Promise<void>;
}

let made = 0;
/** One for each network that a process makes. */
export const networkName = (): string => `tw${process.pid}-${made++}`;

/** Two namespaces joined by a veth pair, 10.9.0.1 and 10.9.0.2, with 10.1.0.0/24 and 10.2.0.0/24 to protect. They go with the scope. */
export async function createNetwork(scope: Scope): Promise<Network> {
  const name = networkName();
  const left = host(`${name}-l`, '10.9.0.1', '10.9.0.2', '10.1.0');
  const right = host(`${name}-r`, '10.9.0.2', '10.9.0.1', '10.2.0');
  for (const { namespace } of [left, right]) await addNamespace(scope, namespace);
  await ip('link', 'add', left.device, 'netns', left.namespace, 'type', 'veth', 'peer', 'name', right.device, 'netns', right.namespace);
  for (const end of [left, right]) await raise(end);
  return {
    left,
    right,
    cut: async () => {
      // Frames to an address that nobody owns: the sender sees no error, the receiver no packet.
      for (const end of [left, right])
        await ip('-n', end.namespace, 'neigh', 'replace', end.peerAddress, 'lladdr', NOBODY, 'nud', 'permanent', 'dev', end.device);
    },
    mend: async () => {
      for (const end of [left, right]) await ip('-n', end.namespace, 'neigh', 'del', end.peerAddress, 'dev', end.device);
    },
    hold: async () => {
      for (const end of [left, right]) await shape(end, TRICKLE);
      // the token buckets begin full: this empties them, its answer that of the other end
      await largePing(left);
    },
    holds: async ({ namespace, device }) => /backlog [1-9]/.test(await must('tc', ['-n', namespace, '-s', 'qdisc', 'show', 'dev', device])),
    release: async () => {
      // what waits is looked at when the next packet comes: the left end's goes first, then the right end's with its answer, so that nothing
      // that answers it catches up with the left end's own
      for (const end of [left, right]) await shape(end, FLOW);
      await largePing(left);
    },
  };
}

/** A namespace on the left with a tap in it, for the wire of an emulated machine, which is the right end and has no namespace. */
export async function createGuestNetwork(scope: Scope): Promise<{ readonly left: Host; readonly right: Host }> {
  const name = networkName();
  const left = host(`${name}-l`, '10.9.0.1', '10.9.0.2', '10.1.0');
  await addNamespace(scope, left.namespace);
  await ip('-n', left.namespace, 'tuntap', 'add', left.device, 'mode', 'tap');
  await raise(left);
  return { left, right: host('', '10.9.0.2', '10.9.0.1', '10.2.0') };
}

const shape = ({ namespace, device }: Host, rate: readonly string[]): Promise<string> =>
  must('tc', ['-n', namespace, 'qdisc', 'replace', 'dev', device, 'root', 'tbf', ...rate]);

/** The largest that the link takes in one piece. */
const largePing = ({ namespace, peerAddress }: Host): Promise<string> =>
  must('ip', ['netns', 'exec', namespace, 'ping', '-q', '-c', '1', '-W', '5', '-s', '1472', peerAddress]);

/** Gives the namespace itself the inside address, for a peer whose tunnel ends in the kernel. */
export async function addInside(end: Host): Promise<void> {
  await ip('-n', end.namespace, 'addr', 'add', `${end.inside}/24`, 'dev', 'lo');
  await must('ip', [
    'netns',
    'exec',
    end.namespace,
    'sysctl',
    '-qw',
    'net.ipv4.ip_forward=1',
    'net.ipv4.conf.all.rp_filter=0',
    'net.ipv4.conf.default.rp_filter=0',
  ]);
}

export async function addNamespace(scope: Scope, namespace: string): Promise<void> {
  await ip('netns', 'add', namespace);
  const remove = (): void => void spawnSync('ip', ['netns', 'del', namespace], { stdio: 'ignore' });
  process.once('exit', remove);
  scope.defer(`namespace ${namespace}`, async () => {
    process.removeListener('exit', remove);
    await ip('netns', 'del', namespace);
  });
}

async function raise({ namespace, address, device }: Host): Promise<void> {
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  await ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', device);
  await ip('-n', namespace, 'link', 'set', device, 'up');
}

function host(namespace: string, address: string, peerAddress: string, prefix: string): Host {
  return { namespace, device: 'outside', address, peerAddress, network: `${prefix}.0/24`, inside: `${prefix}.1` };
}

const ip = (...args: string[]): Promise<string> => must('ip', args);
/** A packet of 200 octets waits for a second and more. */
const TRICKLE = ['rate', '1kbit', 'burst', '1540', 'latency', '60s'];
const FLOW = ['rate', '1gbit', 'burst', '1mb', 'latency', '60s'];
const NOBODY = '02:00:00:00:00:ee';

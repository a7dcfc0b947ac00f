import assert from 'node:assert/strict';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { type Client, compile, configFrom, createClient } from '../../../src/index.ts';
import type { Host } from '../../interop/support/network.ts';
import { eventually, run } from '../../interop/support/process.ts';
import { type Identity, LEFT_ID, RIGHT_ID, swanctlConf } from '../../interop/support/profile.ts';
import type { Settings } from '../../interop/support/settings.ts';
import { configuration } from '../../interop/support/tunnelwright.ts';
import { command } from './cases.ts';
import { Charon } from './charon.ts';
import { Wire } from './wire.ts';

export interface Wish {
  readonly ike?: string;
  readonly esp?: string;
  /** Of ours. */
  readonly id?: string;
  /** Added to our connection and child, and to strongSwan's. */
  readonly connection?: object;
  readonly child?: object;
  readonly children?: object;
  readonly theirConnection?: Settings;
  readonly theirChild?: Settings;
  readonly theirSections?: Settings;
  /** Added to our configuration, at the top. */
  readonly sections?: object;
}

/** Both ends of a tunnel in one guest, each in a namespace of its own: ours in this process, and strongSwan. */
export interface Tunnel {
  readonly ours: Client;
  readonly charon: Charon;
  /** Its configuration. */
  readonly theirs: Settings;
  /** What leaves our namespace. */
  readonly wire: Wire;
  /** From our namespace; `from` is the inner address unless told. @returns the sequence numbers that were answered */
  ping(options?: Pings): Promise<readonly number[]>;
  /** From strongSwan's. */
  pingBack(options?: Pings): Promise<readonly number[]>;
}

export interface Pings {
  readonly count?: number;
  /** Of data, zeros. */
  readonly octets?: number;
  /** Seconds from one to the next. */
  readonly every?: number;
  readonly from?: string;
  readonly to?: string;
}

export const OURS: Host = {
  namespace: 'ours',
  device: 'wire',
  address: '10.77.0.1',
  peerAddress: '10.77.0.2',
  network: '10.1.0.0/24',
  inside: '10.1.0.1',
};
export const THEIRS: Host = {
  namespace: 'theirs',
  device: 'wire',
  address: '10.77.0.2',
  peerAddress: '10.77.0.1',
  network: '10.2.0.0/24',
  inside: '10.2.0.1',
};

/** Opens both ends, without calling; closes ours afterwards, of which nothing may be left then. */
export async function withTunnel(wish: Wish, body: (tunnel: Tunnel) => Promise<void>): Promise<void> {
  const charon = await world();
  const before = machine();
  await charon.configure(theirs(wish));
  const ours = await createClient({ config: compile(configFrom(configured(wish))) });
  const notices: string[] = [];
  ours.onNotice(({ notice }) => void notices.push(JSON.stringify(notice, readable)));
  const wire = await Wire.tap(OURS.namespace);
  try {
    await body({
      ours,
      charon,
      theirs: theirs(wish),
      wire,
      ping: (pings) => echoes(OURS, { to: THEIRS.inside, from: OURS.inside, ...pings }),
      pingBack: (pings) => echoes(THEIRS, { to: OURS.inside, from: THEIRS.inside, ...pings }),
    });
  } catch (error) {
    const kernel = [OURS, THEIRS].map(
      ({ namespace: name }) => command(`ip -n ${name} -s xfrm state`) + command(`ip -n ${name} xfrm policy`),
    );
    throw new Error(`${(error as Error).stack}\n${notices.slice(-30).join('\n')}\n${charon.log()}\n${kernel.join('\n--- theirs\n')}`);
  } finally {
    wire.close();
    await ours.close(CLOSING);
  }
  assert.equal(machine(), before);
}

/** Whatever the product may change in its namespace. */
const machine = (): string =>
  ['xfrm state', 'xfrm policy', 'address show dev lo', 'rule', '-6 rule', '-4 route show table all']
    .map((what) => command(`ip -n ${OURS.namespace} ${what}`))
    .join('\n---\n');

/** Both namespaces, with this process in ours, and strongSwan in the other. Made once. */
export function world(): Promise<Charon> {
  made ??= make();
  return made;
}

let made: Promise<Charon> | undefined;

async function make(): Promise<Charon> {
  for (const { namespace } of [OURS, THEIRS]) command(`ip netns add ${namespace}`);
  command(`ip link add wire netns ${OURS.namespace} type veth peer name wire netns ${THEIRS.namespace}`);
  for (const { namespace, address, inside, peerAddress } of [OURS, THEIRS]) {
    command(`ip -n ${namespace} addr add ${address}/24 dev wire`);
    command(`ip -n ${namespace} addr add ${inside}/24 dev lo`);
    command(`ip -n ${namespace} link set lo up`);
    command(`ip -n ${namespace} link set wire up`);
    command(`ip -n ${namespace} route add default via ${peerAddress}`);
  }
  command(`ip -n ${OURS.namespace} addr add 10.4.0.1/24 dev lo`);
  const charon = await Charon.start(THEIRS.namespace);
  await enter(OURS.namespace);
  return charon;
}

/** This thread, and what it starts, works there from now on. */
export async function enter(namespace: string): Promise<void> {
  const libc = await loadLibc();
  const fd = libc.open(`/run/netns/${namespace}`, 0);
  assert.equal(libc.setns(fd, CLONE_NEWNET), 0);
  libc.close(fd);
}

export const configured = ({
  ike = IKE,
  esp = ESP,
  connection = {},
  child = {},
  children = {},
  sections = {},
  id = LEFT_ID,
}: Wish): object =>
  configuration({
    host: OURS,
    peer: THEIRS,
    identity: identity(id, RIGHT_ID),
    ike,
    esp,
    connection: { retransmission: PATIENT, ...connection },
    child,
    children,
    sections: { plane: 'xfrm', ...sections },
  });

export const theirs = ({ ike = IKE, esp = ESP, theirConnection = {}, theirChild = {}, theirSections = {} }: Wish): Settings =>
  swanctlConf({
    host: THEIRS,
    peer: OURS,
    identity: identity(RIGHT_ID, LEFT_ID),
    ike,
    esp,
    connection: { mobike: 'no', ...theirConnection },
    child: theirChild,
    sections: theirSections,
  });

const identity = (id: string, peerId: string): Identity => ({ auth: 'psk', id, peerId, secret: 'between two namespaces' });

/** @returns the sequence numbers that were answered */
export const echoes = async (host: Host, pings: Pings): Promise<readonly number[]> => (await pinged(host, pings)).answered;

/** And what ping(8) complained of: one that cannot send a packet gives up. */
export async function pinged(
  { namespace }: Host,
  { count = 3, every = 0.2, octets = 56, from, to = '' }: Pings,
): Promise<{ readonly answered: readonly number[]; readonly complaint: string }> {
  const words = [
    'netns',
    'exec',
    namespace,
    'ping',
    '-c',
    `${count}`,
    '-i',
    `${every}`,
    '-W',
    '10',
    '-s',
    `${octets}`,
    '-p',
    '00',
    ...(from ? ['-I', from] : []),
    to,
  ];
  const { stdout, stderr } = await run('ip', words, { timeout: 300_000 });
  return { answered: [...stdout.matchAll(/bytes from .*seq=(\d+)/g)].map((match) => Number(match[1])), complaint: stderr };
}

/** Until a packet is answered. */
export const reaches = (tunnel: Tunnel): Promise<unknown> =>
  eventually('packets pass', async () => (await tunnel.ping({ count: 1 })).length > 0, LONG);

const readable = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? `${value.length} octets` : value);
const IKE = 'aes128gcm16-prfsha256-x25519';
const ESP = 'aes128gcm16-x25519';
const PATIENT = { initial: '8s', base: 1.4, give_up: '90s' };
const CLONE_NEWNET = 0x4000_0000;
/** Milliseconds. */
const CLOSING = 5_000;
const LONG = 300_000;

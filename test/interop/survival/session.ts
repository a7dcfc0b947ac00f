import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { addNamespace, type Host, networkName } from '../support/network.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { createIdentities, PROPOSALS } from '../support/profile.ts';
import { EVERYTHING } from '../support/requirements.ts';
import type { Scope } from '../support/scope.ts';
import { configuration, Tunnelwright } from '../support/tunnelwright.ts';

/** Seconds under transfer: a minute, or what shows the same in less. */
export const seconds = (shorter: number): number => (EVERYTHING ? 60 : shorter);

/** A client with two ways out, a router between, a gateway: three namespaces. */
export interface Internet {
  readonly client: Host;
  readonly router: { readonly namespace: string };
  readonly gateway: Host;
}

export interface Link {
  readonly device: string;
  readonly address: string;
  readonly router: string;
}

/** The client's ways out. The second has no address at first. */
export const [WIFI, MOBILE]: readonly [Link, Link] = [
  { device: 'wifi', address: '10.8.1.2', router: '10.8.1.1' },
  { device: 'mobile', address: '10.8.2.2', router: '10.8.2.1' },
];
const GATEWAY = '10.9.0.2';
/** On the router, the device towards the gateway. */
export const WAN = 'wan';

export async function createInternet(scope: Scope): Promise<Internet> {
  const name = networkName();
  const [client, router, gateway] = [`${name}-c`, `${name}-n`, `${name}-g`];
  for (const namespace of [client, router, gateway]) await addNamespace(scope, namespace);
  const links = [
    [client, WIFI.device, `${WIFI.address}/24`, WIFI.device, `${WIFI.router}/24`],
    [client, MOBILE.device, `${MOBILE.address}/24`, MOBILE.device, `${MOBILE.router}/24`],
    [gateway, 'outside', `${GATEWAY}/24`, WAN, '10.9.0.1/24'],
  ] as const;
  for (const [namespace, device, address, far, farAddress] of links) {
    await ip('link', 'add', device, 'netns', namespace, 'type', 'veth', 'peer', 'name', far, 'netns', router);
    await ip('-n', namespace, 'link', 'set', device, 'up');
    if (device !== MOBILE.device) await ip('-n', namespace, 'addr', 'add', address, 'dev', device);
    await ip('-n', router, 'addr', 'add', farAddress, 'dev', far);
    await ip('-n', router, 'link', 'set', far, 'up');
  }
  await must('ip', ['netns', 'exec', router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  await ip('-n', client, 'route', 'add', 'default', 'via', WIFI.router);
  await ip('-n', gateway, 'route', 'add', 'default', 'via', '10.9.0.1');
  const host = (namespace: string, device: string, address: string, peerAddress: string, prefix: string): Host => {
    return { namespace, device, address, peerAddress, network: `${prefix}.0/24`, inside: `${prefix}.1` };
  };
  return {
    client: host(client, WIFI.device, WIFI.address, GATEWAY, '10.1.0'),
    router: { namespace: router },
    gateway: host(gateway, 'outside', GATEWAY, WIFI.address, '10.2.0'),
  };
}

/**
 * The client leaves one way out for the other, with nothing in between. The address goes and not the link, since Linux takes up to a second
 * to say that a link is up.
 */
export async function move({ client: { namespace } }: Internet, from: Link, to: Link): Promise<void> {
  await ip('-n', namespace, 'addr', 'del', `${from.address}/24`, 'dev', from.device);
  await ip('-n', namespace, 'addr', 'add', `${to.address}/24`, 'dev', to.device);
  await ip('-n', namespace, 'route', 'replace', 'default', 'via', to.router);
}

/** Rules of nftables, in a namespace. */
export function nft({ namespace }: { readonly namespace: string }, rules: string): Promise<string> {
  return must('ip', ['netns', 'exec', namespace, 'nft', rules]);
}

/** The router becomes a NAT that takes ports at random; the gateway keeps a list of those that it sees. */
export async function translate({ router, gateway }: Internet): Promise<void> {
  await nft(
    router,
    `add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; };
     add rule ip t c oifname ${WAN} meta l4proto udp masquerade to :20000-60000 fully-random`,
  );
  await nft(
    gateway,
    `add table ip t; add set ip t ports { type inet_service; flags dynamic; };
     add chain ip t c { type filter hook input priority filter; };
     add rule ip t c udp dport 4500 add @ports { udp sport }`,
  );
}

/** A NAT that loses its address forgets what it mapped to it. */
export async function forget({ router: { namespace } }: Internet): Promise<void> {
  await must('ip', ['-n', namespace, 'addr', 'del', '10.9.0.1/24', 'dev', WAN]);
  await must('ip', ['-n', namespace, 'addr', 'add', '10.9.0.1/24', 'dev', WAN]);
}

export interface Session {
  readonly internet: Internet;
  readonly client: Tunnelwright;
  readonly gateway: Tunnelwright;
  /** The gateway anew, with the same configuration. */
  restart(): Promise<Tunnelwright>;
}

/**
 * Our client and our gateway, each a process in a namespace, with a tunnel between.
 * @param connection added to both
 * @param child added to the client's
 * @param prepare what is done to the network before they start
 */
export async function startSession(
  scope: Scope,
  connection: object = {},
  child: object = {},
  prepare: (internet: Internet) => Promise<void> = async () => undefined,
): Promise<Session> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
  scope.defer(folder, () => rm(folder, { recursive: true }));
  const internet = await createInternet(scope);
  await prepare(internet);
  const identities = await createIdentities(folder, 'psk');
  const { ike, esp } = PROPOSALS[1]!;
  const start = (role: 'client' | 'gateway', host: Host, peer: Host) => {
    const identity = role === 'client' ? identities.left : identities.right;
    const anywhere = role === 'client' ? { local_addrs: '%any' } : { remote_addrs: '%any' };
    const configured = configuration({
      host,
      peer,
      identity,
      ike,
      esp,
      connection: { ...anywhere, ...connection },
      child: role === 'client' ? child : {},
    });
    const state = join(folder, `${role}-state`);
    return Tunnelwright.start(scope, { folder: join(folder, role), host, role, configuration: { ...configured, state } });
  };
  const gateway = await start('gateway', internet.gateway, internet.client);
  const client = await start('client', internet.client, internet.gateway);
  await client.initiate();
  return { internet, client, gateway, restart: () => start('gateway', internet.gateway, internet.client) };
}

/** Octets each second and each way. */
const PACE = 2 * 1024 * 1024;
const PORT = 4100;

/** What flows through a tunnel while the path under it changes. */
export interface Transfer {
  /** Both ends stop; what arrived is what was sent. @returns what to print of it */
  end(): Promise<string>;
  /** Until more has come in at both ends. */
  goesOn(): Promise<void>;
}

export async function startTransfer({ client, gateway, internet }: Session): Promise<Transfer> {
  await gateway.listenFlow(PORT, PACE);
  await client.connectFlow(internet.gateway.inside, PORT, PACE);
  const logs = (): string => `${client.log()}\n${gateway.log()}`;
  return {
    goesOn: async () => {
      const before = [await client.flowed(PORT), await gateway.flowed(PORT)];
      const more = async () => (await client.flowed(PORT)) > before[0]! && (await gateway.flowed(PORT)) > before[1]!;
      await eventually('octets come in at both ends', more, PATIENCE, logs);
    },
    end: async () => {
      const [ours, theirs] = await Promise.all([client.endFlow(PORT), gateway.endFlow(PORT)]);
      expect(ours.received, logs()).toBe(theirs.sent);
      expect(theirs.received, logs()).toBe(ours.sent);
      expect([ours.octetsReceived, theirs.octetsReceived]).toEqual([theirs.octetsSent, ours.octetsSent]);
      const mebibytes = (ours.octetsReceived + theirs.octetsReceived) / 2 ** 20;
      const took = ours.milliseconds / 1000;
      return (
        `${mebibytes.toFixed(0)} MiB both ways in ${took.toFixed(1)} s (${(mebibytes / took).toFixed(1)} MiB/s), ` +
        `longest gap ${ours.longestGap} ms at the client, ${theirs.longestGap} ms at the gateway`
      );
    },
  };
}

const ip = (...args: string[]): Promise<string> => must('ip', args);

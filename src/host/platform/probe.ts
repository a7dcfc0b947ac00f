import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { type NativeFacts, probeNative } from './linux/native-facts.ts';

/** What this machine offers, for `doctor`. Undefined: it could not be found out, which is not the same as no. */
export interface MachineFacts {
  readonly node: string;
  readonly openssl: string;
  readonly platform: string;
  /** User id; undefined where there is no such thing. */
  readonly user: number | undefined;
  /** May this process make devices and routes? */
  readonly networkAdmin: boolean | undefined;
  /** May this process open UDP 500? */
  readonly lowPorts: boolean | undefined;
  /** Is there a /dev/net/tun that this process may use as it is? */
  readonly tun: boolean | undefined;
  /** May an ordinary user make a network namespace of its own? */
  readonly userNamespaces: boolean | undefined;
  /** Largest receive buffer that a socket may ask for, octets. */
  readonly receiveBufferLimit: number | undefined;
  /** Does the kernel pass packets on between interfaces? Only planes outside of this process need it. */
  readonly forwarding: { readonly ipv4: boolean | undefined; readonly ipv6: boolean | undefined };
  /** ICMP redirects that are sent or believed lead traffic around a tunnel. */
  readonly redirects: { readonly sent: boolean | undefined; readonly accepted: boolean | undefined };
  /** Of this machine, whatever the root. */
  readonly native: NativeFacts;
}

/** @param root where `/proc` and `/dev` are; tests have their own */
export async function probeMachine(root = '/'): Promise<MachineFacts> {
  const read = (path: string): Promise<string | undefined> =>
    readFile(`${root}${path}`, 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    );
  const flag = async (path: string): Promise<boolean | undefined> => {
    const text = await read(path);
    return text === undefined ? undefined : text !== '0';
  };
  const net = 'proc/sys/net';
  const capabilities = capabilitiesOf(await read('proc/self/status'));
  return {
    node: process.versions.node,
    openssl: process.versions.openssl,
    platform: `${process.platform} ${process.arch}`,
    user: process.getuid?.(),
    networkAdmin: has(capabilities, CAP_NET_ADMIN),
    lowPorts: lowPorts(capabilities, await read(`${net}/ipv4/ip_unprivileged_port_start`)),
    tun: await tunUsable(root, capabilities),
    userNamespaces: await userNamespaces(read),
    receiveBufferLimit: numberOf(await read(`${net}/core/rmem_max`)),
    forwarding: { ipv4: await flag(`${net}/ipv4/ip_forward`), ipv6: await flag(`${net}/ipv6/conf/all/forwarding`) },
    redirects: { sent: await flag(`${net}/ipv4/conf/all/send_redirects`), accepted: await flag(`${net}/ipv4/conf/all/accept_redirects`) },
    native: await probeNative(),
  };
}

/** Whether this process may change interfaces and routes, as root can; false where it cannot be found out. */
export async function mayAdministerNetwork(): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => undefined);
  return has(capabilitiesOf(status), CAP_NET_ADMIN) === true;
}

/** Effective capabilities as a bit set (capabilities(7)); undefined where there is no such thing. */
function capabilitiesOf(status: string | undefined): bigint | undefined {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1];
  return hex === undefined ? undefined : BigInt(`0x${hex}`);
}

function lowPorts(capabilities: bigint | undefined, start: string | undefined): boolean | undefined {
  const first = numberOf(start);
  if (first !== undefined && first <= IKE_PORT) return true;
  return has(capabilities, CAP_NET_BIND_SERVICE);
}

const has = (capabilities: bigint | undefined, capability: bigint): boolean | undefined =>
  capabilities === undefined ? undefined : (capabilities & capability) !== 0n;

async function tunUsable(root: string, capabilities: bigint | undefined): Promise<boolean | undefined> {
  if (capabilities === undefined) return undefined;
  const writable = await access(`${root}dev/net/tun`, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  return writable && (capabilities & CAP_NET_ADMIN) !== 0n;
}

/** Three switches, of which any may forbid it: the kernel's own limit, Debian's former one, and AppArmor's. */
async function userNamespaces(read: (path: string) => Promise<string | undefined>): Promise<boolean | undefined> {
  const most = numberOf(await read('proc/sys/user/max_user_namespaces'));
  if (most === undefined) return undefined;
  const cloneForbidden = (await read('proc/sys/kernel/unprivileged_userns_clone')) === '0';
  const restricted = (await read('proc/sys/kernel/apparmor_restrict_unprivileged_userns')) === '1';
  return most > 0 && !cloneForbidden && !restricted;
}

const numberOf = (text: string | undefined): number | undefined => (text === undefined || !/^\d+$/.test(text) ? undefined : Number(text));

const IKE_PORT = 500;
const CAP_NET_BIND_SERVICE = 1n << 10n;
const CAP_NET_ADMIN = 1n << 12n;

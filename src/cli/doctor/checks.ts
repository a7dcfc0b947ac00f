import type { MachineFacts } from '../../host/platform/probe.ts';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  /** `warn`: something is not as good as it could be; `fail`: what was asked for cannot work. */
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do about it; null where there is nothing to do. */
  readonly fix: string | null;
}

/** What of the machine is as it should be, and what to do about the rest. Pure. */
export const machineChecks = (facts: MachineFacts): Check[] => [
  node(facts),
  user(facts),
  native(facts),
  ports(facts),
  buffers(facts),
  forwarding(facts),
  redirects(facts),
];

function node({ node, openssl, platform }: MachineFacts): Check {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const detail = `${node}, OpenSSL ${openssl}, ${platform}`;
  if (major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])) return ok('node', detail);
  return { name: 'node', state: 'fail', detail, fix: `Install Node ${LEAST_NODE.join('.')} or newer.` };
}

function user({ user, networkAdmin }: MachineFacts): Check {
  const who = user === undefined ? 'unknown' : user === 0 ? 'root' : `uid ${user}`;
  if (networkAdmin === undefined) return ok('user', who);
  return ok(
    'user',
    `${who}, ${networkAdmin ? 'may make interfaces and routes (CAP_NET_ADMIN)' : 'may make neither interfaces nor routes (no CAP_NET_ADMIN)'}`,
  );
}

function native({ native }: MachineFacts): Check {
  if (native.lack !== undefined)
    return warn('native calls', native.lack, 'Needed by the planes tun, netns and xfrm alone; netstack has one thread for all without.');
  const lacking = NATIVE_SPEED.filter(([key]) => native[key] === false).map(([, what]) => what);
  if (lacking.length === 0) return ok('native calls', 'koffi, with all that makes tun and netns fast');
  return warn('native calls', `koffi; slower without ${lacking.join(', ')}`, 'A newer kernel has it; nothing else is lost.');
}

function ports({ lowPorts }: MachineFacts): Check {
  if (lowPorts === undefined) return warn('UDP 500', NOT_FOUND_OUT, null);
  if (lowPorts) return ok('UDP 500', 'may be opened');
  return warn(
    'UDP 500',
    'may not be opened by this user; a client takes another port by itself, a gateway is told one by --port',
    'As root: sysctl net.ipv4.ip_unprivileged_port_start=500; or for a service of systemd AmbientCapabilities=CAP_NET_BIND_SERVICE.',
  );
}

function buffers({ receiveBufferLimit: limit }: MachineFacts): Check {
  if (limit === undefined) return ok('buffers', NOT_FOUND_OUT);
  const detail = `a socket may hold ${limit} octets of what comes in (net.core.rmem_max)`;
  return limit >= GOOD_BUFFER
    ? ok('buffers', detail)
    : warn('buffers', `${detail}: bursts are lost`, `As root: sysctl net.core.rmem_max=${GOOD_BUFFER}.`);
}

function forwarding({ forwarding: { ipv4, ipv6 } }: MachineFacts): Check {
  const off = [...(ipv4 === false ? ['IPv4'] : []), ...(ipv6 === false ? ['IPv6'] : [])];
  if (off.length === 0) return ok('forwarding', ipv4 === undefined && ipv6 === undefined ? NOT_FOUND_OUT : 'the kernel passes packets on');
  return warn(
    'forwarding',
    `the kernel passes no ${off.join(' and no ')} on; only a gateway on the planes tun or xfrm needs that`,
    'As root, where this machine is to be one: sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1.',
  );
}

function redirects({ redirects: { sent, accepted } }: MachineFacts): Check {
  if (sent !== true && accepted !== true)
    return ok('redirects', sent === undefined && accepted === undefined ? NOT_FOUND_OUT : 'none are sent or believed');
  const what = [...(sent === true ? ['sent'] : []), ...(accepted === true ? ['believed'] : [])].join(' and ');
  return warn(
    'redirects',
    `ICMP redirects are ${what}: on the planes tun and xfrm they can lead traffic around a tunnel`,
    'As root: sysctl net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.all.accept_redirects=0.',
  );
}

const ok = (name: string, detail: string): Check => ({ name, state: 'ok', detail, fix: null });
const warn = (name: string, detail: string, fix: string | null): Check => ({ name, state: 'warn', detail, fix });

const NATIVE_SPEED = [
  ['cipherContexts', 'OpenSSL’s contexts'],
  ['udpSegmentation', 'UDP_SEGMENT (Linux 4.18)'],
  ['udpJoining', 'UDP_GRO (Linux 5.0)'],
  ['tunOffload', 'offloads of TUN devices'],
] as const;

const NOT_FOUND_OUT = 'could not be found out';
/** `engines` of package.json. */
const LEAST_NODE = [20, 19] as const;
/** What our sockets ask for. */
const GOOD_BUFFER = 4 * 1024 * 1024;

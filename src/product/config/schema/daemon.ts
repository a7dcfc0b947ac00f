import { z } from 'zod';
import { formatIp, tryParseIp } from '../../../core/bytes/ip-address.ts';
import { count, duration, flag, integer, listOf, octetRate, path, port, quantity, size, text, words } from '../formats.ts';
import { formatRange, invalid, isHostName, parseAddressRange, quoted, valid } from '../values.ts';
import { key, required, section } from './section.ts';

const ownAddress = text('OwnAddress', 'An address of this machine, or %any.', ['%any', '192.0.2.1', '2001:db8::1'], (input) => {
  if (input === '%any') return valid(input);
  const octets = tryParseIp(input);
  return octets === undefined
    ? invalid(`${quoted(input)} is not an IP address`, 'Write an address of this machine, or %any.')
    : valid(formatIp(octets));
});

export const ownAddresses = words(
  'OwnAddresses',
  'Addresses, each with the length of its prefix behind a slash if it has one.',
  ['10.66.0.1/24', '10.66.0.1/24, fd00:66::1/64'],
  (input) => {
    const [ip = '', length, more] = input.split('/');
    const octets = tryParseIp(ip);
    if (
      octets === undefined ||
      more !== undefined ||
      (length !== undefined && !(/^\d{1,3}$/.test(length) && Number(length) <= octets.length * 8))
    ) {
      return invalid(`${quoted(input)} is not an address`, 'Write 10.66.0.1/24.');
    }
    return valid(length === undefined ? formatIp(octets) : `${formatIp(octets)}/${length}`);
  },
);

export const listen = section({
  addresses: key(listOf(ownAddress), 'Addresses to bind.', '%any'),
  port: key(port, 'UDP port of IKE.', 500),
  nat_port: key(port, 'UDP port of IKE and ESP once a NAT was found or forced.', 4500),
  tcp: key(
    flag,
    'As gateway, take IKE and ESP over TCP as well, from clients whose network lets no UDP through (RFC 9329). Unasked, where the port is taken, it goes on without.',
    'yes',
  ),
  tcp_port: key(port, 'TCP port for them.', 'nat_port'),
  fallback: key(
    flag,
    'When a port below 1024 is forbidden or a port is taken: use any free one instead of giving up.',
    'yes for a client, no for a gateway',
  ),
});

export const control = section({
  socket: key(
    path,
    'The unix socket; made with mode 0600 in a folder with mode 0700.',
    'NAME.sock in `$XDG_RUNTIME_DIR/tunnelwright`, in `/var/run/tunnelwright` for root, else in `~/.local/state/tunnelwright`',
  ),
});

const knownPeer = words(
  'KnownPeers',
  'Addresses, prefixes and DNS names; `connections` stands for the peers that connections name.',
  ['connections', 'connections, 203.0.113.0/24, branch.example.com'],
  (input) => {
    if (input === 'connections' || isHostName(input)) return valid(input);
    const range = input.includes('-') ? undefined : parseAddressRange(input);
    if (range?.ok === true) return valid(formatRange(range.value));
    return invalid(`${quoted(input)} is neither an address, a prefix nor a DNS name`, 'Write 203.0.113.7, 203.0.113.0/24 or connections.');
  },
);
const rate = integer('Rate', 1, 1_000_000, 'Each second; twice as many at once.');
const difficulty = integer('Difficulty', 9, 32, 'Zero bits: each one more doubles the work.');

export const limits = section({
  cookie_threshold: key(count, 'Half-open IKE SAs from which on a COOKIE is demanded.', 32),
  puzzle_difficulty: key(
    difficulty,
    'How hard a puzzle is that has to be solved by whoever wants an IKE SA while very many are half-open (RFC 8019): 18 take a client a second or a few. Of clients that solve none, some still come in.',
    'none is set',
  ),
  puzzle_threshold: key(count, 'Half-open IKE SAs from which on puzzles are set.', 'four times cookie_threshold'),
  auth_puzzle_difficulty: key(
    difficulty,
    'How hard a second puzzle is, to be solved in IKE_AUTH by who solved the first one, while for a quarter of the half-open IKE SAs something came that nobody with their keys has made.',
    'none is set',
  ),
  half_open_per_address: key(count, 'Half-open IKE SAs of one IPv4 address or one IPv6 /64.', 5),
  half_open: key(count, 'Half-open IKE SAs altogether.', 4096),
  half_open_life: key(duration, 'How long an IKE SA may stay unauthenticated.', '10s'),
  ike_sas: key(count, 'IKE SAs altogether.', 65536),
  known_peers: key(
    knownPeer,
    'Who may begin an IKE SA; datagrams of anybody else are dropped unread. SAs that stand go wherever their peers do.',
    'anybody',
  ),
  refusals: key(rate, 'Refusals and other answers to strangers that leave nothing behind.', 2000),
  refusals_per_address: key(rate, 'Those to one IPv4 address or one IPv6 /64.', 50),
  cookies: key(rate, 'Demands for a COOKIE.', 100_000),
  cookies_per_address: key(rate, 'Those to one IPv4 address or one IPv6 /64.', 1000),
});

export const espThread = z.union([flag, z.literal('auto')]);

export const workers = quantity<number | 'auto'>('Workers', 'A whole number from 0 to 64, or `auto`.', ['auto', 2], (input) => {
  if (input === 'auto') return valid('auto');
  return /^\d{1,2}$/.test(input) && Number(input) <= MOST_WORKERS
    ? valid(Number(input))
    : invalid(`${quoted(input)} is neither auto nor a number from 0 to ${MOST_WORKERS}`);
});
const MOST_WORKERS = 64;

const gateways = words('Gateways', 'IP addresses and DNS names.', ['vpn2.example.com', '192.0.2.2, 192.0.2.3'], (input) => {
  const octets = tryParseIp(input);
  if (octets !== undefined) return valid(formatIp(octets));
  return isHostName(input) ? valid(input) : invalid(`${quoted(input)} is neither an address nor a DNS name`);
});

type RedirectWhen = { readonly kind: 'always' } | { readonly kind: 'over'; readonly ikeSas: number };
const redirectWhen = text<RedirectWhen>(
  'RedirectWhen',
  '`always`, or `over N`: once there are so many IKE SAs.',
  ['always', 'over 1000'],
  (input) => {
    if (input === 'always') return valid({ kind: 'always' });
    const match = /^over\s+(\d{1,9})$/.exec(input);
    return match === null
      ? invalid(`${quoted(input)} is neither always nor over N`, 'Write for instance over 1000.')
      : valid({ kind: 'over', ikeSas: Number(match[1]) });
  },
);

export const redirect = section({
  to: required(gateways, 'The other gateways; each client is sent to one of them by chance.'),
  when: key(redirectWhen, 'Which newcomers are sent there: all of them, or those that come when there are many IKE SAs already.', 'always'),
  exchange: key(z.enum(['init', 'auth']), 'init: at the first message, at no cost; auth: when both ends have proven who they are.', 'init'),
  grace: key(duration, 'How long a client that was sent away may keep the IKE SA it has.', '30s'),
});

export const transfer = section({
  share: key(path, 'A folder whose files peers may `get`.', 'nothing is shared'),
  inbox: key(path, 'A folder into which peers may `send` files.', 'nothing is received'),
  port: key(port, 'TCP port inside the tunnel on which files are served.', 9467),
  limit: key(octetRate, 'What all connections of the peers together may move, both ways.', 'no limit'),
  largest: key(size, 'The largest file that is taken, into the inbox or by SFTP.', 'any'),
  keep_free: key(
    size,
    'So much of the disk stays free, whatever peers send, by SFTP as well: a transfer that would use it is refused and goes on once there is room.',
    '64MiB',
  ),
});

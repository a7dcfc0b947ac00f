import { z } from 'zod';
import { codePoint, count, duration, flag, integer, listOf, path, size, words } from '../formats.ts';
import { parseSelector } from '../selectors.ts';
import { key, section } from './section.ts';

const selectors = words(
  'TrafficSelectors',
  'Prefixes, ranges FIRST-LAST, addresses or `dynamic`, each with [PROTOCOL/PORT] behind it if wanted; for ICMP a type, or type × 256 + code.',
  ['10.0.0.0/24', 'dynamic', '10.1.0.0/16[tcp/443]', '10.0.0.1-10.0.0.9[udp/8000-8099]'],
  parseSelector,
);

const proposals = listOf(z.string().min(1)).meta({
  id: 'ChildProposals',
  description:
    'Algorithms joined by dashes; several proposals in order of preference, in a list or divided by commas; `default` stands for the built-in ones. Opt-in algorithms are used only where they are named, with a warning.',
  samples: ['aes256gcm16-x25519', 'aes256-sha256-esn', 'default'],
});

const mark = z.string().regex(/^(%unique|%unique-dir|%same|(0x[0-9a-fA-F]{1,8}|\d{1,10})(\/(0x[0-9a-fA-F]{1,8}|\d{1,10}))?)$/, {
  error: 'is not a mark: write VALUE or VALUE/MASK',
});
const df = z
  .union([flag, z.enum(['copy', 'set', 'clear'])])
  .transform((value) => (value === true ? 'copy' : value === false ? 'clear' : value));
const mss = z.union([flag, integer('Mss', 536, 65495, 'Octets of a TCP segment.')]);
/** Of an XFRM interface. */
export const interfaceId = z.string().regex(/^(%unique|%unique-dir|0x[0-9a-fA-F]{1,8}|\d{1,10})$/, { error: 'is not an interface id' });

export const child = section({
  mode: key(
    z.enum(['tunnel', 'transport', 'beet', 'transport_proxy', 'pass', 'drop']),
    'tunnel or transport; pass and drop are shunts: traffic that goes past the tunnels in clear, or not at all, as long as the configuration stands and whatever tunnels there are; of several the narrower goes first. pass needs plane: tun or xfrm. Transport mode stands between the two ends themselves, behind NATs as each of them sees the other, whatever local_ts and remote_ts allow besides.',
    'tunnel',
  ),
  local_ts: key(selectors, 'Traffic at our end. `dynamic` is our address, or the one we were given.', 'dynamic'),
  remote_ts: key(selectors, 'Traffic at the other end. `dynamic` is its address, or the one it was given.', 'dynamic'),
  narrow: key(
    flag,
    'Whether traffic may come down to what both ends allow (RFC 7296 §2.9). With no, a peer that asks for more is refused, and an answer with less is not taken.',
    'yes',
  ),
  single_pair: key(
    flag,
    'As responder, one pair of addresses for each CHILD_SA: a peer that asks for more is told so (SINGLE_PAIR_REQUIRED), or gets the pair it has a packet for.',
    'no',
  ),
  esp_proposals: key(proposals, 'ESP algorithms.', 'default'),
  ah_proposals: key(proposals, 'AH algorithms, in the place of ESP.'),
  pfs: key(
    z.enum(['require', 'prefer', 'off']),
    'A fresh key exchange when the child is made or rekeyed after the first. Apple devices have it off by default.',
    'prefer',
  ),
  rekey_time: key(duration, 'Lifetime. 0 is never.', '1h'),
  life_time: key(duration, 'The child is closed when no rekeying succeeded by then.', '110 % of rekey_time'),
  rand_time: key(duration, 'Rekeying begins up to this long before rekey_time, at random.', '10 % of rekey_time'),
  rekey_bytes: key(size, 'Rekey after so many octets. 0 is never.', '64GiB'),
  life_bytes: key(size, 'Close after so many octets.', '110 % of rekey_bytes'),
  rand_bytes: key(size, 'Rekeying begins up to so many octets before rekey_bytes, at random.', '10 % of rekey_bytes'),
  rekey_packets: key(count, 'Rekey after so many packets. 0 is never.', 2 ** 30),
  life_packets: key(count, 'Close after so many packets.', '110 % of rekey_packets'),
  rand_packets: key(count, 'Rekeying begins up to so many packets before rekey_packets, at random.', '10 % of rekey_packets'),
  start_action: key(
    z.enum(['none', 'start', 'trap']),
    'When the configuration is loaded: nothing, connect, or connect at the first packet.',
    'none',
  ),
  close_action: key(z.enum(['none', 'start', 'trap']), 'The same when the peer has closed the child.', 'none'),
  dpd_action: key(
    z.enum(['clear', 'start', 'restart', 'trap']),
    'The same when the peer is dead; clear is nothing, restart is start.',
    'clear',
  ),
  replay_window: key(
    integer('ReplayWindow', 0, 65536, 'Entries.'),
    'Size of the anti-replay window in packets. 0 turns the check off.',
    1024,
  ),
  inactivity: key(duration, 'Delete the child after so long without traffic either way. 0 is never.', '0'),
  ipcomp: key(flag, 'Offer and take compression of packets with DEFLATE (RFC 3173); what does not get smaller goes as it is.', 'no'),
  tfc_padding: key(
    z.union([z.literal('mtu'), count]),
    'Pad packets to this many octets, or all that the tunnel takes, against traffic analysis (RFC 4303 §2.7); tunnel mode of ESP alone, and not for a peer that takes no padding.',
    '0',
  ),
  dummy_packets: key(
    integer('DummyPackets', 0, 1000, 'Packets each second.'),
    'Send so many packets without content each second, at random times (RFC 4303 §2.6); the peer drops them. Not by xfrm.',
    0,
  ),
  later_fragments: key(
    flag,
    'Where local_ts or remote_ts name ports: agree that fragments behind the first, which show none, go the way of the first (NON_FIRST_FRAGMENTS_ALSO, RFC 4301 §7.3). Not by xfrm.',
    'no',
  ),
  sha256_96: key(
    flag,
    'Cut sha256 to 96 bits, for peers that negotiate it as RFC 4868 has it and do not keep to that (Linux before 2.6.33, old Android).',
    'no',
  ),
  updown: key(path, 'A program to run when the child goes up or down.'),
  hostaccess: key(flag, 'For updown: let the peer reach this machine itself.', 'no'),
  policies: key(flag, 'Install policies into the kernel.', 'yes'),
  policies_fwd_out: key(flag, 'Install outbound forward policies as well.', 'no'),
  interface: key(z.string(), 'Restrict the policies to a network interface.'),
  priority: key(count, 'Fixed priority of the policies.', 0),
  reqid: key(count, 'Fixed reqid.', 0),
  mark_in: key(
    mark,
    'Netfilter mark of inbound traffic: the child is for packets that have it. This and the other marks are for xfrm alone.',
  ),
  mark_in_sa: key(flag, 'Put the inbound mark on the SA too.', 'no'),
  mark_out: key(mark, 'Netfilter mark of outbound traffic, likewise.'),
  set_mark_in: key(mark, 'Netfilter mark to set on inbound traffic.'),
  set_mark_out: key(mark, 'Netfilter mark to set on outbound traffic.'),
  if_id_in: key(
    interfaceId,
    'XFRM interface that inbound traffic comes out of, by its if_id; that of the connection unless given. xfrm alone.',
  ),
  if_id_out: key(
    interfaceId,
    'XFRM interface of outbound traffic, likewise: the child is for what is routed there. Where there is none, one is made, with routes to remote_ts, and goes again at the end; to one that is there already the routes are yours.',
  ),
  label: key(z.string(), 'Security label (RFC 9478).'),
  label_mode: key(z.enum(['system', 'simple', 'selinux']), 'How the label is used.'),
  per_cpu_sas: key(z.enum(['no', 'yes', 'encap']), 'One child for each processor (RFC 9611).', 'no'),
  hw_offload: key(
    z.enum(['no', 'crypto', 'packet', 'yes', 'auto']),
    'Leave encryption to the network card: crypto (or yes) insists, packet insists on headers and policies as well (Linux 6.2), auto has the card do as much as it can. xfrm alone.',
    'no',
  ),
  copy_df: key(
    df,
    'DF of the outer IPv4 header: yes copies it from the inner one, set and clear do not look; no is clear. Inside UDP it is the socket that decides.',
    'yes',
  ),
  copy_ecn: key(
    flag,
    'Carry congestion marks between inner and outer header (RFC 6040), either way; netstack with a thread for ESP alone (`esp_thread`).',
    'yes',
  ),
  copy_dscp: key(
    z.enum(['out', 'in', 'yes', 'no']),
    'Copy the DSCP to the outer header, from it, both (yes) or neither; netstack with a thread for ESP alone (`esp_thread`).',
    'out',
  ),
  outer_dscp: key(codePoint, 'DSCP of the outer header where it is not copied.', '000000'),
  clamp_mss: key(
    mss,
    'Lower the MSS of TCP connections that pass, in both directions, to what the tunnel takes; a number is the most it may be besides.',
    'yes',
  ),
});

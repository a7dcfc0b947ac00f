import { z } from 'zod';
import { flag, integer, path } from './formats.ts';
import { behind } from './schema/behind.ts';
import { connection } from './schema/connection.ts';
import { authority, pool, secret } from './schema/credentials.ts';
import { control, espThread, limits, listen, ownAddresses, redirect, transfer, workers } from './schema/daemon.ts';
import { key, name, named, section } from './schema/section.ts';
import { sftp } from './schema/sftp.ts';

/**
 * The whole configuration as one declarative schema: validation, the types of the settings, the JSON Schema for editors and the
 * reference page come from it. Its model covers what swanctl.conf can say; where the names agree, the meaning does too.
 */
export const configuration = section({
  name: key(
    name,
    'The name of this instance; several on one machine differ in it. The control socket carries it.',
    'the role: `gateway` or `client`',
  ),
  listen: key(listen, 'The sockets IKE and ESP in UDP are spoken on.'),
  control: key(control, 'The socket from which `status`, `sas`, `up` and `down` speak to a running instance.'),
  state: key(
    path,
    'A folder for the secret that outlives a restart, made with mode 0700: tickets (`resumption`) of the life before stay good, and peers hear at once that we crashed (`crash_detection`).',
    'none: a restart is noticed by silence alone',
  ),
  plane: key(
    z.enum(['auto', 'xfrm', 'tun', 'netns', 'netstack']),
    'Where packets are handled; `auto` is `netstack`, or `tun` where networks of this machine are to be connected and that is permitted. `tunnelwright doctor` says what can run.',
    'auto',
  ),
  mtu: key(
    integer('Mtu', 576, 65535, 'Octets of an IP packet.'),
    'Largest packet inside the tunnel; the path may force a smaller one.',
    1400,
  ),
  congestion: key(
    z.enum(['bbr', 'cubic', 'newreno']),
    'What governs TCP of `netstack`: `bbr` keeps its rate on long paths that lose packets by chance; `cubic` (RFC 9438) and `newreno` (RFC 5681) yield at every loss, as they should where a short queue is shared with many.',
    'bbr',
  ),
  esp_thread: key(
    espThread,
    'Whether ESP of `netstack` and its sockets have a thread of their own, beside that of TCP and the application; `auto`: where there are three processors or more, and native calls.',
    'auto',
  ),
  bare_esp: key(
    flag,
    'Send ESP without UDP around it (IP protocol 50) where no NAT is between the ends; AH needs it. xfrm does so in any case, tun where this says so (CAP_NET_RAW); netstack and netns cannot.',
    'no',
  ),
  addresses: key(
    ownAddresses,
    'Our own addresses inside the tunnel, with the prefix around them.',
    'the first address of every prefix in `pools`',
  ),
  limits: key(limits, 'Protection against floods of half-open IKE SAs.'),
  workers: key(
    workers,
    'Threads that compute key exchanges and signatures, peers that are proven first; `auto` is one fewer than there are processors. 0 computes everything in one thread: less work in all, but a flood then delays packets.',
    0,
  ),
  redirect: key(redirect, 'Sends clients to other gateways (RFC 5685); those that do not follow may stay.', 'everybody may stay'),
  behind: key(
    named(behind),
    'Networks behind a gateway that has no interface (plane `netstack`), by name: what clients send there leaves through ordinary sockets.',
    'none: clients reach the gateway and one another',
  ),
  transfer: key(transfer, 'What `send` and `get` of the peers may reach here.'),
  sftp: key(sftp, 'Lets peers into a folder by SFTP, inside the tunnel alone; needs the plane `netstack`.', 'no SFTP'),
  connections: key(named(connection), 'Whom to connect to or to accept, by name.'),
  pools: key(named(pool), 'Addresses and other settings that clients are given, by name.'),
  authorities: key(named(authority), 'Certification authorities that peers are trusted for, by name.'),
  secrets: key(named(secret), 'Pre-shared keys, passwords and passphrases, by name.'),
});

/** What the schema makes of a configuration: every format parsed, nothing defaulted yet. */
export type Settings = z.output<typeof configuration>;
export type PoolSettings = NonNullable<Settings['pools']>[string];
export type ConnectionSettings = NonNullable<Settings['connections']>[string];
export type LocalRoundSettings = ConnectionSettings['local'][number];
export type RemoteRoundSettings = ConnectionSettings['remote'][number];
export type ChildSettings = NonNullable<ConnectionSettings['children']>[string];
export type SecretSettings = NonNullable<Settings['secrets']>[string];

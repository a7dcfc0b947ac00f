import { z } from 'zod';
import { IpProtocol } from '../../../core/wire/iana.ts';
import { listOf, words } from '../formats.ts';
import { identityPattern } from '../identities.ts';
import { parseSelector, type SelectorSetting } from '../selectors.ts';
import { type AddressRange, invalid, type Parsed, quoted, valid } from '../values.ts';
import { key, required, section } from './section.ts';

/** Hosts, and what of them: 0 is TCP, UDP and echo requests. */
export type BehindRange = SelectorSetting & { readonly addresses: AddressRange };

const behindNetworks = words(
  'BehindNetworks',
  'Addresses, prefixes and ranges FIRST-LAST, each with [tcp/PORTS], [udp/PORTS] or [icmp] behind it if that is all.',
  ['10.20.0.0/16', '10.20.1.5[tcp/443], 10.20.1.5[icmp]', '10.20.1.0/24[tcp/8000-8099]'],
  parseBehindNetwork,
);

export const behind = section({
  networks: required(
    behindNetworks,
    'What clients reach through ordinary sockets of this machine: by TCP, UDP and echo requests, unless it says which of them.',
  ),
  ids: key(listOf(identityPattern), 'Whose clients may: identities, with `*` for any text.', 'all clients'),
  connections: key(listOf(z.string()), 'Clients of which connections may.', 'of all'),
});

function parseBehindNetwork(input: string): Parsed<BehindRange> {
  const parsed = parseSelector(input);
  if (!parsed.ok) return parsed;
  const { addresses, protocol, startPort, endPort } = parsed.value;
  if (addresses === 'dynamic') return invalid('`dynamic` is no network behind the gateway', HINT);
  if (!CARRIED.has(protocol)) return invalid(`${quoted(input)}: only TCP, UDP and echo requests pass ordinary sockets`, HINT);
  const isIcmp = protocol === IpProtocol.ICMP || protocol === IpProtocol.ICMPv6;
  if (startPort > endPort || (isIcmp && endPort - startPort !== 0xffff)) return invalid(`${quoted(input)} names what does not pass`, HINT);
  return valid({ ...parsed.value, addresses });
}

const CARRIED: ReadonlySet<number> = new Set([0, IpProtocol.TCP, IpProtocol.UDP, IpProtocol.ICMP, IpProtocol.ICMPv6]);
const HINT = 'Write 10.20.0.0/16, 10.20.1.5[tcp/443], 10.20.1.5[udp/53] or 10.20.1.5[icmp].';

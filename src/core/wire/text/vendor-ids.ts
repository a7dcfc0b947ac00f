import { toHex } from '../../bytes/bytes.ts';
import { shortHex, visibleText } from './octets.ts';

/** The name of a vendor or extension that announces itself so; visible text stands in quotes, the rest as hex. */
export function describeVendorId(data: Uint8Array): string {
  const name = vendorName(data);
  if (name !== undefined) return name;
  const text = visibleText(data);
  return text === undefined ? shortHex(data, 32) : `"${text}"`;
}

/** Undefined for a Vendor ID that is not in our table. */
export function vendorName(data: Uint8Array): string | undefined {
  const hex = toHex(data.subarray(0, 64));
  for (const [prefix, name, rest] of VENDOR_IDS) {
    if (rest === 'exact' ? hex === prefix : hex.startsWith(prefix))
      return typeof rest === 'function' ? `${name}${rest(data.subarray(prefix.length / 2))}` : name;
  }
  return undefined;
}

type Rest = 'exact' | 'any' | ((rest: Uint8Array) => string);

/** [MS-IKEE] §2.2.1: the version stands behind the hash. */
const windowsVersion: Rest = (rest) => {
  const version = rest.length === 4 ? rest[3]! : -1;
  return version in WINDOWS ? ` (Windows ${WINDOWS[version]})` : '';
};

const WINDOWS: Readonly<Record<number, string>> = {
  2: '2000',
  3: 'XP',
  4: 'Server 2003',
  5: 'Vista',
  6: 'Server 2008',
  7: '7',
  8: 'Server 2008 R2',
  9: '8 or later',
};

/** Prefix in hex, name, what may follow it. Most are the MD5 of a text that the vendor chose. */
const VENDOR_IDS: readonly (readonly [prefix: string, name: string, rest: Rest])[] = [
  ['882fe56d6fd20dbc2251613b2ebe5beb', 'strongSwan', 'exact'],
  ['1e2b516905991c7d7c96fcbfb587e461', 'MS NT5 ISAKMPOAKLEY', windowsVersion],
  ['4048b7d56ebce88525e7de7f00d6c2d3', 'FRAGMENTATION', 'any'],
  ['fb1de3cdf341b7ea16b7e5be0855f120', 'MS-Negotiation Discovery Capable', 'exact'],
  ['26244d38eddb61b3172a36e3d0cfb819', 'Vid-Initial-Contact', 'exact'],
  ['e3a5966a76379fe707228231e5ce8652', 'IKE CGA version 1', 'exact'],
  ['214ca4faffa7f32d6748e5303395ae83', 'MS-MamieExists', 'exact'],
  ['afcad71368a1f1c96b8696fc77570100', 'Dead Peer Detection (RFC 3706)', 'exact'],
  ['4a131c81070358455c5728f20e95452f', 'NAT-T (RFC 3947)', 'exact'],
  ['90cb80913ebb696e086381b5ec427b1f', 'NAT-T (draft-ietf-ipsec-nat-t-ike-02)', 'exact'],
  ['09002689dfd6b712', 'XAUTH', 'exact'],
  ['12f5f28c457168a9702d9fe274cc', 'Cisco Unity', 'any'],
  ['1f07f70eaa6514d3b0fa96542a50', 'Cisco VPN Concentrator', 'any'],
  ['8299031757a36082c6a621de', 'FortiGate', 'any'],
  ['f4ed19e0c114eb516faaac0ee37daf2807b4381f', 'Check Point', 'any'],
  ['166f932d55eb64d8e4df4fd37e2313f0d0fd8451', 'Juniper ScreenOS', 'any'],
  ['5b362bc820f6', 'SonicWall', 'any'],
  ['625027749d5ab97f5616c1602765cf480a3b7d0b', 'ZyXEL', 'exact'],
  ['7003cbc1097dbe9c2600ba6983bc8b35', 'KAME racoon', 'exact'],
];

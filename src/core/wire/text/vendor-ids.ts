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

const windowsVersion: Rest = (rest) => {
  const version = rest.length === 4 ? rest[3]! : -1;
  const names: Readonly<Record<number, string>> = {
    2: '2000',
    3: 'XP',
    4: 'XP / 2003',
    5: 'XP / 2003',
    6: 'Vista',
    7: 'Vista SP1 / 2008',
    8: '7 / 2008 R2',
    9: '8 or newer',
  };
  return version in names ? ` (Windows ${names[version]})` : '';
};

/** Prefix in hex, name, what may follow. Facts: most are the MD5 of a text the vendor chose. */
const VENDOR_IDS: readonly (readonly [prefix: string, name: string, rest: Rest])[] = [
  ['882fe56d6fd20dbc2251613b2ebe5beb', 'strongSwan', 'exact'],
  ['1e2b516905991c7d7c96fcbfb587e461', 'MS NT5 ISAKMPOAKLEY', windowsVersion],
  ['4048b7d56ebce88525e7de7f00d6c2d3', 'FRAGMENTATION', 'any'],
  ['fb1de3cdf341b7ea16b7e5be0855f120', 'MS-Negotiation Discovery Capable', 'exact'],
  ['26244d38eddb61b3172a36e3d0cfb819', 'Vid-Initial-Contact', 'exact'],
  ['e3a5966a76379fe707228231e5ce8652', 'IKE CGA version 1', 'exact'],
  ['afcad71368a1f1c96b8696fc77570100', 'Dead Peer Detection', 'exact'],
  ['4a131c81070358455c5728f20e95452f', 'RFC 3947 NAT-T', 'exact'],
  ['12f5f28c457168a9702d9fe274cc', 'Cisco Unity', 'any'],
  ['09002689dfd6b712', 'XAUTH', 'exact'],
];

import { encryption, encryptionKeyOctets, encryptionTransforms, integrity, integrityTransforms } from '../../src/core/crypto/index.ts';
import type { ChildSaKeys, ChildSaSpec } from '../../src/core/ike/effects.ts';
import { childPair } from '../host/support/esp-pair.ts';
import { selector } from '../host/support/packets.ts';
import { type Combination, type Conflicts, combinations, covering, type Dimensions } from './covering.ts';

/** A way in which two CHILD_SAs can differ, as names. `AH` stands for no encryption, and no integrity for that of an AEAD. */
export const CHILD_DIMENSIONS = {
  encryption: ['AH', ...encryptionTransforms().flatMap(({ name, keyLengths }) => keyLengths.map((bits) => `${name} ${bits}`))],
  integrity: ['none', ...integrityTransforms().map(({ name }) => name)],
  numbers: ['32 bits', 'ESN'],
  mode: ['tunnel', 'transport'],
  inner: ['IPv4', 'IPv6'],
  outer: ['IPv4', 'IPv6'],
  around: ['IP', 'UDP'],
  compression: ['none', 'IPComp'],
} as const satisfies Dimensions;

export const childConflicts: Conflicts = ({ encryption: cipher, integrity: mac, mode, inner, outer, around }) => {
  if (mode === 'transport' && inner !== undefined && outer !== undefined && inner !== outer) return true;
  // RFC 7296 §2.23
  if (cipher === 'AH' && around === 'UDP') return true;
  if (cipher === undefined || mac === undefined) return false;
  if (cipher === 'AH') return mac === 'none';
  if (encryptionNamed(cipher).transform.aead) return mac !== 'none';
  return mac === 'none' || !integrityNamed(mac).forEsp;
};

/**
 * All combinations, or the few in which every two values are together, and all that there are with one cipher: what goes wrong with three
 * values together is seldom the cipher's.
 * @param dimensions those above, and others
 */
export function chosenOf(dimensions: Dimensions, everything: boolean): readonly Combination[] {
  const all = [...combinations(dimensions, childConflicts)];
  return everything ? all : [...covering(dimensions, childConflicts), ...all.filter(({ encryption }) => encryption === ONE_CIPHER)];
}

const ONE_CIPHER = 'ENCR_AES_GCM_16 128';

export interface Ends {
  readonly outer: readonly [a: string, b: string];
  readonly inner: readonly [a: string, b: string];
}

/** Both ends' CHILD_SA for a combination. */
export function childOf(combination: Combination, id: number, ends: Ends): { readonly a: ChildSaSpec; readonly b: ChildSaSpec } {
  const { mode, around, compression, numbers } = combination;
  const isAh = combination.encryption === 'AH';
  const [own, others] = mode === 'transport' ? ends.outer : ends.inner;
  const { a, b } = childPair({
    id,
    localTs: [selector(hostPrefix(own))],
    remoteTs: [selector(hostPrefix(others))],
    more: {
      protocol: isAh ? 'AH' : 'ESP',
      mode: mode as 'tunnel' | 'transport',
      encap: around === 'UDP',
      esn: numbers === 'ESN',
    },
  });
  const [left, right] = ends.outer.map((ip) => ({ ip, port: 4500 })) as [ChildSaSpec['local'], ChildSaSpec['local']];
  const compressed = (inboundCpi: number, outboundCpi: number) => (compression === 'none' ? {} : { ipcomp: { inboundCpi, outboundCpi } });
  const keyed = (spec: ChildSaSpec): ChildSaSpec => ({
    ...spec,
    inbound: keysOf(spec.inbound, combination),
    outbound: keysOf(spec.outbound, combination),
  });
  return {
    a: { ...keyed(a), local: left, remote: right, ...compressed(CPI_A, CPI_B) },
    b: { ...keyed(b), local: right, remote: left, ...compressed(CPI_B, CPI_A) },
  };
}

function keysOf({ spi }: ChildSaKeys, { encryption: cipher, integrity: mac }: Combination): ChildSaKeys {
  const fill = (octets: number, from: number): Uint8Array => Uint8Array.from({ length: octets }, (_, i) => (spi + from + 7 * i) & 0xff);
  const integ = mac === 'none' ? undefined : integrityNamed(mac!);
  const sealed = cipher === 'AH' ? undefined : encryptionNamed(cipher!);
  return {
    spi,
    encryption: sealed?.transform.id ?? 0,
    keyLength: sealed?.keyLength,
    encryptionKey: fill(sealed === undefined ? 0 : encryptionKeyOctets(sealed.transform.id, sealed.keyLength), 1),
    integrity: integ?.id ?? 0,
    integrityKey: fill(integ?.keyLength ?? 0, 2),
  };
}

export function encryptionNamed(text: string) {
  const [name, bits] = text.split(' ');
  const transform = encryption(encryptionTransforms().find((one) => one.name === name)!.id)!;
  return { transform, keyLength: transform.keyLengthAttribute === 'required' ? Number(bits) : undefined };
}

export const integrityNamed = (text: string) => integrity(integrityTransforms().find(({ name }) => name === text)!.id)!;

/** For reports: `ENCR_AES_GCM_16 128, ESN, tunnel, IPv4 in IPv6, UDP`. */
export const named = ({
  encryption: cipher,
  integrity: mac,
  numbers,
  mode,
  inner,
  outer,
  around,
  compression,
  ...others
}: Combination): string =>
  [
    mac === 'none' ? cipher : `${cipher} with ${mac}`,
    numbers,
    mode === 'transport' ? `transport, ${outer}` : `tunnel, ${inner} in ${outer}`,
    around,
    ...(compression === 'none' ? [] : [compression]),
    ...Object.values(others),
  ].join(', ');

const hostPrefix = (ip: string): string => `${ip}/${ip.includes(':') ? 128 : 32}`;
const [CPI_A, CPI_B] = [0x4001, 0x4002];

import type { Path } from './source.ts';

/**
 * Settings that the model knows, because other systems have them and importers map onto them, but that nothing carries out yet. Those that
 * protect or steer traffic are refused; the rest is said aloud. An entry goes when its feature comes.
 */
export interface Unsupported {
  /** `*` stands for one name or index. */
  readonly path: readonly string[];
  readonly effect: 'refuse' | 'warn';
  /** Completes "…is not carried out:". */
  readonly why: string;
  /** Values for which nothing needs to be done. */
  readonly harmless?: readonly unknown[];
}

export function unsupportedAt(path: Path, value: unknown): Unsupported | undefined {
  return UNSUPPORTED.find(
    (entry) =>
      entry.path.length === path.length &&
      entry.path.every((part, i) => part === '*' || part === String(path[i])) &&
      !entry.harmless?.includes(value),
  );
}

const setting = (path: string, effect: Unsupported['effect'], why: string, ...harmless: readonly unknown[]): Unsupported => ({
  path: path.split('.'),
  effect,
  why,
  harmless,
});

const ROUND = 'connections.*.remote.*';
const CHILD = 'connections.*.children.*';
const KERNEL = 'it is an instruction to the Linux kernel, which the data planes here do not hand packets to';

export const UNSUPPORTED: readonly Unsupported[] = [
  setting('connections.*.dscp', 'warn', 'IKE packets carry code point 0', 0),
  setting('connections.*.local.*.token', 'refuse', 'keys on tokens are not used'),
  setting(`${ROUND}.token`, 'refuse', 'certificates on tokens are not read'),
  setting(`${ROUND}.ca_id`, 'refuse', 'paths are not checked for it'),
  setting(`${ROUND}.cert_policy`, 'refuse', 'paths are not checked for it'),
  setting(`${ROUND}.groups`, 'refuse', 'peers have no groups'),
  setting(`${ROUND}.revocation`, 'refuse', 'revocation lists and OCSP are not asked', 'relaxed'),
  setting(`${ROUND}.trust`, 'refuse', 'the strength of certificate paths has one built-in floor'),
  setting(`${ROUND}.eap_id`, 'refuse', 'EAP is not spoken', '%any'),
  setting(`${CHILD}.updown`, 'refuse', 'no programs are run'),
  setting(`${CHILD}.hostaccess`, 'warn', 'it only speaks to updown programs', false),
  setting(`${CHILD}.policies`, 'refuse', KERNEL, true),
  setting(`${CHILD}.policies_fwd_out`, 'refuse', KERNEL, false),
  setting(`${CHILD}.interface`, 'refuse', KERNEL),
  setting(`${CHILD}.priority`, 'refuse', KERNEL, 0),
  setting(`${CHILD}.reqid`, 'refuse', KERNEL, 0),
  setting(`${CHILD}.label`, 'refuse', 'security labels (RFC 9478) are not spoken'),
  setting(`${CHILD}.label_mode`, 'refuse', 'security labels (RFC 9478) are not spoken'),
  setting(`${CHILD}.per_cpu_sas`, 'warn', 'one child carries the traffic of all processors', 'no'),
  setting('pools.*.nbns', 'warn', 'clients are not told'),
  setting('pools.*.dhcp', 'warn', 'clients are not told'),
  setting('pools.*.netmask', 'warn', 'clients are not told'),
  setting('pools.*.split_exclude', 'warn', 'clients are not told; IKEv2 has no attribute for it'),
  setting('pools.*.attributes', 'warn', 'clients are not told'),
  setting('authorities.*.crl_uris', 'warn', 'revocation lists are not fetched'),
  setting('authorities.*.ocsp_uris', 'warn', 'OCSP responders are not asked'),
];

/** The two lower bits of the traffic class (RFC 3168 §5). */
export const Ecn = { NOT_ECT: 0, ECT_1: 1, ECT_0: 2, CE: 3 } as const;

/** How the outer header of tunnel mode follows the inner one (RFC 4301 §5.1.2), ready to be applied to packets. */
export interface OuterRules {
  /** Bits of the inner traffic class that are copied to the outer header. */
  readonly copied: number;
  /** The others. */
  readonly fixed: number;
  /** The inner ECN field heeds the outer one (RFC 6040 §4.2). */
  readonly ecn: boolean;
  /** The inner DSCP becomes the outer one: only where everybody on the path may say what goes first here. */
  readonly dscpIn: boolean;
  readonly df: 'copy' | 'set' | 'clear';
}

export interface OuterSettings {
  readonly copyDscp?: 'out' | 'in' | 'yes' | 'no' | undefined;
  /** 0 to 63, where the DSCP is not copied. */
  readonly outerDscp?: number | undefined;
  readonly copyEcn?: boolean | undefined;
  readonly df?: 'copy' | 'set' | 'clear' | undefined;
}

/** @returns the same for all that set nothing */
export function outerRules(settings?: OuterSettings): OuterRules {
  return settings === undefined ? USUAL_RULES : rulesOf(settings);
}

function rulesOf({ copyDscp = 'out', outerDscp = 0, copyEcn = true, df = 'copy' }: OuterSettings): OuterRules {
  const dscpOut = copyDscp === 'out' || copyDscp === 'yes';
  return {
    copied: (dscpOut ? DSCP : 0) | (copyEcn ? ECN : 0),
    fixed: dscpOut ? 0 : (outerDscp << 2) & DSCP,
    ecn: copyEcn,
    dscpIn: copyDscp === 'in' || copyDscp === 'yes',
    df,
  };
}

/** In transport mode there is but one header, and it keeps what it says. */
export const TRANSPORT_RULES: OuterRules = { copied: 0xff, fixed: 0, ecn: true, dscpIn: true, df: 'copy' };

/** Traffic class of the outer header. RFC 6040 §4.1, normal mode: ECN as it is; where it is not copied, Not-ECT (compatibility mode, §4.3). */
export const outerClass = (inner: number, { copied, fixed }: OuterRules): number => (inner & copied) | fixed;

/** @returns the traffic class that the inner header has from here on, or `DROP` (RFC 6040 §4.2) */
export function decapsulatedClass(inner: number, outer: number, { ecn, dscpIn }: OuterRules): number {
  const mark = ecn ? DECAPSULATED_ECN[inner & ECN]![outer & ECN]! : inner & ECN;
  return mark === DROP ? DROP : ((dscpIn ? outer : inner) & DSCP) | mark;
}

export const dontFragment = (inner: boolean, { df }: OuterRules): boolean => (df === 'copy' ? inner : df === 'set');

/** A packet that does not understand congestion marks, and met congestion: to drop it is the only way to tell. */
export const DROP = -1;

const { NOT_ECT, ECT_0, ECT_1, CE } = Ecn;
/** RFC 6040 §4.2, figure 4: by inner, then by outer codepoint, in the order of their numbers (Not-ECT, ECT(1), ECT(0), CE). */
export const DECAPSULATED_ECN: readonly (readonly number[])[] = [
  [NOT_ECT, NOT_ECT, NOT_ECT, DROP],
  [ECT_1, ECT_1, ECT_1, CE],
  [ECT_0, ECT_1, ECT_0, CE],
  [CE, CE, CE, CE],
];

const DSCP = 0xfc;
const ECN = 0x03;
const USUAL_RULES = rulesOf({});

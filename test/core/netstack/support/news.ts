import type { Acknowledgment } from '../../../../src/core/netstack/index.ts';
import type { RateSample } from '../../../../src/core/netstack/tcp/delivery-rate.ts';

/** What congestion control hears; what is not given tells nothing. */
export function news({ sample, ...given }: Partial<Omit<Acknowledgment, 'sample'>> & { sample?: Partial<RateSample> }): Acknowledgment {
  return {
    acked: 0,
    delivered: given.acked ?? 0,
    flight: 0,
    pipe: 0,
    recovering: false,
    rtt: undefined,
    sample: { rate: 0, limited: false, delivered: 0, deliveredBefore: 0, lost: 0, rtt: undefined, ...sample },
    ...given,
  };
}

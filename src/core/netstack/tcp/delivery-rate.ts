import type { Millis } from '../ready.ts';
import type { SentSegments } from './sent-segments.ts';

/** How fast the path delivered, as one acknowledgment shows it. */
export interface RateSample {
  /** Octets a millisecond; 0 when this acknowledgment tells none. */
  readonly rate: number;
  /** The sender had less to send than the path could carry: the path is at least that fast. */
  readonly limited: boolean;
  /** Octets delivered in all, and what stood there when the newest segment that was delivered now had left: one round trip ago. */
  readonly delivered: number;
  readonly deliveredBefore: number;
  /** Octets that were ever thought lost. */
  readonly lost: number;
  /** Of the newest segment that was delivered now; undefined when it was sent more than once. */
  readonly rtt: Millis | undefined;
}

/**
 * Delivery rate (draft-cheng-iccrg-delivery-rate-estimation): what arrived between the sending of a segment and its acknowledgment,
 * over the longer of the time in which it was sent and the time in which it was acknowledged. Neither bunched acknowledgments nor bunched
 * sending makes it too high.
 */
export class DeliveryRate implements RateSample {
  rate = 0;
  limited = false;
  delivered = 0;
  deliveredBefore = 0;
  lost = 0;
  rtt: Millis | undefined = undefined;
  #deliveredAt: Millis = 0;
  /** When the first segment left of those that this round of sending is measured by. */
  #firstSentAt: Millis = 0;
  /** What has to be delivered before samples are not limited by the sender any more. */
  #limitedUntil = 0;
  // Of the newest segment that the acknowledgment at hand delivered.
  #order = 0;
  #sentAt: Millis = 0;
  #sendElapsed: Millis = 0;
  #ackElapsed: Millis = 0;

  /** A segment leaves. @param quiet nothing else is in the network. */
  sent(segments: SentSegments, at: number, now: Millis, quiet: boolean): void {
    if (quiet) {
      this.#firstSentAt = now;
      this.#deliveredAt = now;
    }
    segments.delivered[at] = this.delivered;
    segments.deliveredAt[at] = this.#deliveredAt;
    segments.firstSentAt[at] = this.#firstSentAt;
    segments.limited[at] = this.#limitedUntil > 0 ? 1 : 0;
  }

  /** The sender has nothing to send, and the window is not full. @param pipe octets in the network. */
  starves(pipe: number): void {
    this.#limitedUntil = Math.max(1, this.delivered + pipe);
  }

  acknowledgmentBegins(): void {
    this.rate = 0;
    this.rtt = undefined;
    this.#order = 0;
  }

  /** A segment was acknowledged or SACKed. @param again it was sent more than once. */
  arrived(segments: SentSegments, at: number, octets: number, now: Millis, again: boolean): void {
    this.delivered += octets;
    this.#deliveredAt = now;
    const order = segments.order[at]!;
    if (order < this.#order) return;
    this.#order = order;
    this.#sentAt = segments.sentAt[at]!;
    this.#sendElapsed = this.#sentAt - segments.firstSentAt[at]!;
    this.#ackElapsed = now - segments.deliveredAt[at]!;
    this.deliveredBefore = segments.delivered[at]!;
    this.limited = segments.limited[at] === 1;
    this.rtt = again ? undefined : now - this.#sentAt;
  }

  /** All of the acknowledgment was taken. @param minRtt what is measured over less than that tells nothing. */
  acknowledgmentEnds(minRtt: Millis): void {
    if (this.#limitedUntil > 0 && this.delivered > this.#limitedUntil) this.#limitedUntil = 0;
    if (this.#order === 0) return;
    this.#firstSentAt = this.#sentAt;
    const interval = Math.max(this.#sendElapsed, this.#ackElapsed);
    if (interval > 0 && (interval >= minRtt || minRtt === Number.POSITIVE_INFINITY))
      this.rate = (this.delivered - this.deliveredBefore) / interval;
  }
}

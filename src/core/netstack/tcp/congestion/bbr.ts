import type { Millis } from '../../ready.ts';
import type { RateSample } from '../delivery-rate.ts';
import { type Acknowledgment, type CongestionControl, NO_THRESHOLD } from './control.ts';
import { WindowedMax } from './windowed-max.ts';

/**
 * A model of the path in place of a window that losses shrink: how fast it delivers, and how long it is at least. After
 * draft-cardwell-iccrg-bbr-congestion-control-00, whose names these are. Different here: what is lost counts by its share of a round, not
 * one by one; little of it is chance and means nothing, much of it ends start-up and makes the bandwidth doubtful until the next
 * probing, or the one after it. Rates are octets a millisecond.
 */
export class Bbr implements CongestionControl {
  readonly name = 'bbr';
  window: number;
  readonly threshold = NO_THRESHOLD;
  readonly #initial: number;
  #smss: number;
  #state: 'startup' | 'drain' | 'probe-bw' | 'probe-rtt' = 'startup';
  #pacingGain = HIGH_GAIN;

  readonly #btlBw = new WindowedMax(FILTER_ROUNDS);
  /** What losses leave of it; Infinity while they are few. */
  #bwBound = Number.POSITIVE_INFINITY;
  /** Much was lost long after the last probing: the bound outlasts the next one. */
  #doubtful = false;
  #rtProp: Millis = Number.POSITIVE_INFINITY;
  #rtPropAt: Millis = 0;
  #rtPropExpired = false;
  /** The shortest round trip of the round that is over, and of the one that goes on. */
  #roundRtt: Millis = Number.POSITIVE_INFINITY;
  #thisRoundRtt: Millis = Number.POSITIVE_INFINITY;
  /** More than the bandwidth explains: acknowledgments come in bunches. */
  readonly #extraAcked = new WindowedMax(FILTER_ROUNDS);
  #epochAt: Millis = 0;
  #epochAcked = 0;

  #round = 0;
  #roundEnds = 0;
  #roundStarts = false;
  /** When losses were judged last; the best rate since. */
  #lostBefore = 0;
  #deliveredBefore = 0;
  #bestRate = 0;
  #lossy = false;

  #filledPipe = false;
  #fullBw = 0;
  #fullBwRounds = 0;
  #cycle = 0;
  #cycleAt: Millis = 0;
  /** What the path was thought to carry when this part of the cycle began. */
  #cycleBw = 0;
  #probeRttEnds: Millis | undefined = undefined;
  #probeRttRound = false;
  /** Samples of what was delivered before tell how little was sent, not how much the path takes. */
  #samplesFrom = 0;
  #priorWindow = 0;

  constructor(smss: number, initial: number) {
    this.#smss = smss;
    this.#initial = initial;
    this.window = initial;
  }

  pacingRate(srtt: Millis | undefined): number {
    const bw = this.#bw;
    if (bw > 0) return this.#pacingGain * bw;
    return srtt === undefined || srtt === 0 ? Number.POSITIVE_INFINITY : (HIGH_GAIN * this.#initial) / srtt;
  }

  acknowledged(news: Acknowledgment, now: Millis): void {
    this.#countRound(news);
    this.#updateBtlBw(news);
    this.#updateExtraAcked(news, now);
    if (this.#state === 'probe-bw') this.#advanceCycle(news, now);
    this.#checkFullPipe(news);
    this.#checkDrain(news, now);
    this.#updateRtProp(news, now);
    this.#checkProbeRtt(news, now);
    this.#setWindow(news);
  }

  lost(): void {
    // What is lost counts by the round.
  }

  recovered(): void {}

  timedOut(_flight: number, again: boolean): void {
    if (!again) this.#priorWindow = this.window;
    this.window = this.#smss;
    // that the bandwidth does not grow now says nothing of the path
    this.#fullBw = 0;
    this.#fullBwRounds = 0;
  }

  /** BBRRestoreCwnd: the model holds. To grow anew would take so many rounds that the filter forgets what the path carries. */
  repaired(): void {
    this.undo();
  }

  undo(): void {
    this.window = Math.max(this.window, this.#priorWindow);
  }

  idle(): void {
    // The model holds, and what leaves is paced by it.
  }

  resized(smss: number): void {
    this.#smss = smss;
    this.window = Math.max(this.window, smss);
  }

  get #bw(): number {
    return Math.min(this.#btlBw.value, this.#bwBound);
  }

  /** BBRInflight: a gain times the bandwidth-delay product, and what a sender and a receiver that work in batches hold back. */
  #inflight(gain: number): number {
    if (this.#rtProp === Number.POSITIVE_INFINITY || this.#bw === 0) return this.#initial;
    const quantum = Math.min(LARGEST_QUANTUM, Math.max(2 * this.#smss, this.#bw));
    return gain * this.#bw * (this.#rtProp + this.#slack) + 3 * quantum;
  }

  /**
   * What event loops at both ends add to the round trip of a short path while they are busy. A window made for the shortest alone would keep it at
   * a few segments: it delivers no more than that, and so looks no faster. On a long path the same would be a queue that we have made.
   */
  get #slack(): Millis {
    return this.#roundRtt === Number.POSITIVE_INFINITY ? 0 : Math.max(0, Math.min(SHORT_PATH, this.#roundRtt) - this.#rtProp);
  }

  #countRound({ sample }: Acknowledgment): void {
    this.#roundStarts = sample.deliveredBefore >= this.#roundEnds;
    if (!this.#roundStarts) return;
    this.#roundEnds = sample.delivered;
    this.#roundRtt = this.#thisRoundRtt;
    this.#thisRoundRtt = Number.POSITIVE_INFINITY;
    if (this.#state !== 'probe-rtt') this.#round++;
    this.#judgeLosses(sample);
  }

  #judgeLosses({ lost, delivered }: RateSample): void {
    const share = (lost - this.#lostBefore) / (lost - this.#lostBefore + delivered - this.#deliveredBefore);
    this.#lossy = false;
    // Of a few segments one is a large share.
    if (delivered - this.#deliveredBefore < SEGMENTS_JUDGED * this.#smss) return;
    this.#lossy = share > LOSS_THRESHOLD;
    if (this.#lossy && this.#filledPipe) {
      this.#bwBound = Math.max(this.#bestRate, BETA * this.#bw);
      if (this.#cycle >= SETTLED) this.#doubtful = true;
    }
    this.#lostBefore = lost;
    this.#deliveredBefore = delivered;
    this.#bestRate = 0;
  }

  #updateBtlBw({ sample }: Acknowledgment): void {
    const { rate } = sample;
    if (rate === 0) return;
    this.#bestRate = Math.max(this.#bestRate, rate);
    const telling = !sample.limited && this.#state !== 'probe-rtt' && sample.deliveredBefore >= this.#samplesFrom;
    if (telling || rate >= this.#btlBw.value) this.#btlBw.update(rate, this.#round);
  }

  #updateExtraAcked({ delivered }: Acknowledgment, now: Millis): void {
    if (this.#bw === 0) return;
    let expected = this.#bw * (now - this.#epochAt);
    if (this.#epochAcked <= expected) {
      this.#epochAt = now;
      this.#epochAcked = 0;
      expected = 0;
    }
    this.#epochAcked += delivered;
    this.#extraAcked.update(Math.min(this.#epochAcked - expected, this.window, this.#bw * LONGEST_BUNCH), this.#round);
  }

  #checkFullPipe({ sample }: Acknowledgment): void {
    if (this.#filledPipe || !this.#roundStarts) return;
    if (this.#lossy) this.#filledPipe = true;
    if (sample.limited) return;
    if (this.#btlBw.value >= this.#fullBw * FULL_BW_GROWTH) {
      this.#fullBw = this.#btlBw.value;
      this.#fullBwRounds = 0;
    } else if (++this.#fullBwRounds >= FULL_BW_ROUNDS) this.#filledPipe = true;
  }

  #checkDrain({ pipe }: Acknowledgment, now: Millis): void {
    if (this.#state === 'startup' && this.#filledPipe) {
      this.#state = 'drain';
      this.#pacingGain = 1 / HIGH_GAIN;
    }
    if (this.#state === 'drain' && pipe <= this.#inflight(1)) this.#enterProbeBw(now);
  }

  #enterProbeBw(now: Millis): void {
    this.#state = 'probe-bw';
    this.#cycle = FIRST_CRUISE;
    this.#pacingGain = CYCLE[FIRST_CRUISE]!;
    this.#cycleAt = now;
  }

  #advanceCycle({ pipe, delivered }: Acknowledgment, now: Millis): void {
    const past = now - this.#cycleAt > this.#rtProp;
    const before = pipe + delivered;
    // what is under way cannot grow to that where a bound keeps the bandwidth down that is measured meanwhile
    const bounded = this.#bwBound < this.#btlBw.value;
    const done =
      this.#pacingGain > 1
        ? past && (this.#lossy || bounded || before >= this.#inflight(this.#pacingGain))
        : this.#pacingGain < 1
          ? before <= this.#inflight(1) || now - this.#cycleAt > LONGEST_DRAIN * this.#rtProp
          : past;
    if (!done) return;
    // while more is delivered for more that is sent, the path has not been filled
    const grows = this.#pacingGain > 1 && !this.#lossy && this.#bw >= GROWTH * this.#cycleBw;
    if (!grows) this.#cycle = (this.#cycle + 1) % CYCLE.length;
    this.#pacingGain = CYCLE[this.#cycle]!;
    this.#cycleAt = now;
    if (this.#pacingGain > 1) {
      if (!this.#doubtful) this.#bwBound = Number.POSITIVE_INFINITY;
      this.#doubtful = false;
    }
    this.#cycleBw = this.#bw;
  }

  #updateRtProp({ sample }: Acknowledgment, now: Millis): void {
    this.#rtPropExpired = now > this.#rtPropAt + RT_PROP_LIFE;
    if (sample.rtt !== undefined) this.#thisRoundRtt = Math.min(this.#thisRoundRtt, sample.rtt);
    if (sample.rtt === undefined || (sample.rtt > this.#rtProp && !this.#rtPropExpired)) return;
    this.#rtProp = sample.rtt;
    this.#rtPropAt = now;
  }

  #checkProbeRtt({ pipe, sample }: Acknowledgment, now: Millis): void {
    if (this.#state !== 'probe-rtt') {
      if (!this.#rtPropExpired || !this.#filledPipe) return;
      this.#state = 'probe-rtt';
      this.#pacingGain = 1;
      this.#priorWindow = this.window;
      this.#probeRttEnds = undefined;
    }
    if (this.#probeRttEnds === undefined) {
      if (pipe > this.#probeRttWindow) return;
      this.#probeRttEnds = now + PROBE_RTT_TIME;
      this.#probeRttRound = false;
      this.#roundEnds = sample.delivered;
      return;
    }
    if (this.#roundStarts) this.#probeRttRound = true;
    if (!this.#probeRttRound || now < this.#probeRttEnds) return;
    this.#rtPropAt = now;
    this.#samplesFrom = sample.delivered;
    this.window = Math.max(this.window, this.#priorWindow);
    this.#enterProbeBw(now);
  }

  get #probeRttWindow(): number {
    return Math.max(LEAST_SEGMENTS * this.#smss, PROBE_RTT_GAIN * this.#inflight(1));
  }

  #setWindow({ delivered, sample }: Acknowledgment): void {
    const target = this.#inflight(CWND_GAIN) + this.#extraAcked.value;
    const grown = this.window + delivered;
    if (this.#filledPipe) this.window = Math.min(grown, target);
    else if (this.window < target || sample.delivered < this.#initial) this.window = grown;
    this.window = Math.max(this.window, LEAST_SEGMENTS * this.#smss);
    if (this.#state === 'probe-rtt') this.window = Math.min(this.window, this.#probeRttWindow);
  }
}

/** The least that doubles the sending rate in a round: 2/ln 2. */
const HIGH_GAIN = 2.885;
/** In start-up as well (draft-ietf-ccwg-bbr, StartupCwndGain): more would overflow a queue by as much before anybody hears of it. */
const CWND_GAIN = 2;
/** ProbeBW: more, as much less, and then what the path is thought to carry. */
const CYCLE = [1.25, 0.75, 1, 1, 1, 1, 1, 1] as const;
const FIRST_CRUISE = 2;
/** Round trips, for a queue that is older than the probing. */
const LONGEST_DRAIN = 3;
/** From here on what is lost is no echo of the probing. */
const SETTLED = 5;
const FILTER_ROUNDS = 10;
const FULL_BW_GROWTH = 1.25;
const FULL_BW_ROUNDS = 3;
const RT_PROP_LIFE: Millis = 10_000;
const PROBE_RTT_TIME: Millis = 200;
/** Of the successors of that draft: four segments, as there, would cost a long path two rounds of everything. */
const PROBE_RTT_GAIN = 0.5;
/** Of a probing for more bandwidth that found some: most of the quarter that was tried. */
const GROWTH = 1.15;
const SHORT_PATH: Millis = 20;
const LEAST_SEGMENTS = 4;
const LARGEST_QUANTUM = 65_536;
const LONGEST_BUNCH: Millis = 100;
/** Ours: radio loses several per cent by chance; a full queue in start-up, half. */
const LOSS_THRESHOLD = 0.1;
const SEGMENTS_JUDGED = 50;
const BETA = 0.7;

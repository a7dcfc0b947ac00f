import { describe, expect, test } from 'vitest';
import { Drill, type DrillOptions } from './support/drill.ts';

/** A connection that has sent `segments` of 1000 octets, all still under way; its round trip was measured as 40 ms with SACK, 0 without. */
function flight(segments: number, options: DrillOptions = {}, offer = ''): Drill {
  const t = new Drill(options);
  t.connect();
  if (offer !== '') t.elapse(40);
  t.inject(`S. 0:0(0) ack 1 win 65535 <mss 1000${offer === '' ? '' : `,${offer}`}>`).sent();
  t.write(1000 * segments);
  expect(t.sent()).toHaveLength(Math.min(10, segments));
  return t;
}

const segment = (number: number, last = false): string => `${last ? 'P' : ''}. ${1 + 1000 * (number - 1)}:${1 + 1000 * number}(1000) ack 1`;
const ackTo = (number: number, options = ''): string => `. 1:1(0) ack ${1 + 1000 * number}${options}`;
/** SACK of segments `from` to `to`. */
const sack = (from: number, to: number): string => `sack ${1 + 1000 * (from - 1)}:${1 + 1000 * to}`;

describe('retransmission timer (RFC 6298)', () => {
  test('(2.4), (5.5): after the RTO the oldest segment goes again, then ever more slowly', () => {
    const t = flight(1);
    t.silence(199);
    t.expectAfter(1, segment(1, true));
    for (const delay of [400, 800, 1600, 3200]) t.expectAfter(delay, segment(1, true));
    expect(t.stack.counters.tcpTimeouts).toBe(5);
  });

  test('(5.2), (5.3): an acknowledgment of something starts it anew, of everything stops it', () => {
    const t = flight(2);
    t.elapse(150).inject(ackTo(1));
    t.silence(210).expectAfter(9, segment(2, true));
    t.inject(ackTo(2)).silence(100_000);
  });

  test('Karn: a sample of a segment that was sent twice is none', () => {
    const t = flight(1);
    t.elapse(200).expect(segment(1, true));
    t.elapse(100).inject(ackTo(1));
    expect(t.connection.info.srtt).toBe(0);
    // The backed-off value stays until something unambiguous is measured.
    t.write(1000);
    t.expect(segment(2, true)).silence(399).expectAfter(1, segment(2, true));
  });

  test('(2.2), (2.3): SRTT and RTTVAR', () => {
    const t = new Drill();
    t.connect();
    t.elapse(300).inject('S. 0:0(0) ack 1 win 65535 <mss 1000>').sent();
    expect(t.connection.info).toMatchObject({ srtt: 300, rto: 900 });
    t.write(1000);
    t.sent();
    t.elapse(500).inject(ackTo(1));
    // RTTVAR = 3/4 * 150 + 1/4 * |300 - 500| = 162.5; SRTT = 7/8 * 300 + 1/8 * 500 = 325
    expect(t.connection.info).toMatchObject({ srtt: 325, rto: 975 });
  });

  test('RFC 7323 §4: with timestamps even a repeated segment tells the time', () => {
    const t = new Drill({ tcp: { timestamps: true } });
    t.connect();
    t.sent();
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1012,ts 1 0>').sent();
    t.peerClock = 1;
    t.write(1000);
    t.expect(segment(1, true));
    t.elapse(200).expect(segment(1, true));
    t.elapse(80).inject(ackTo(1));
    expect(t.connection.info.srtt).toBe(10);
    expect(t.connection.info.rto).toBe(210);
  });

  test('RFC 5681 §3.1: afterwards one segment, then slow start up to half of what was under way', () => {
    const t = flight(8);
    t.expectAfter(200, segment(1)).silence();
    expect(t.connection.info).toMatchObject({ cwnd: 1000, ssthresh: 4000 });
    t.inject(ackTo(1)).expect(segment(2), segment(3)).silence();
    t.inject(ackTo(3)).expect(segment(4), segment(5), segment(6), segment(7)).silence();
    expect(t.connection.info.cwnd).toBe(4000);
    t.inject(ackTo(7)).expect(segment(8, true)).silence();
  });

  test('RFC 5681 §3.1: ssthresh stays when the same segment times out again', () => {
    const t = flight(8);
    t.elapse(200);
    t.elapse(400);
    expect(t.connection.info.ssthresh).toBe(4000);
  });

  test('RFC 6675 §5.1: what was SACKed is not sent again after a timeout', () => {
    const t = flight(4, {}, 'sackOK');
    // One segment SACKed is too little for fast retransmit; no new text is left, and the answer to the probe is lost.
    t.inject(`. 1:1(0) ack 1 <${sack(2, 2)}>`);
    t.elapse(1000);
    t.sent();
    t.inject(`. 1:1(0) ack 1001 <${sack(2, 2)}>`);
    t.inject(ackTo(2));
    t.elapse(1000);
    expect(t.sent().every((line) => !line.includes('1001:2001'))).toBe(true);
  });

  test('RFC 2018 §8: a receiver that throws away what it SACKed is found out at the timeout', () => {
    const t = flight(5, {}, 'sackOK');
    t.inject(`. 1:1(0) ack 1 <${sack(2, 5)}>`).expect(segment(1));
    t.inject(`. 1:1(0) ack 1001`).silence();
    // Everything but the first is SACKed, yet not acknowledged with it.
    t.elapse(10_000);
    expect(t.stack.counters.tcpSackReneged).toBe(1);
    expect(t.sent()).toContain(`${segment(2)} win 65535`);
  });
});

describe('fast retransmit without SACK (RFC 5681 §3.2, RFC 6582)', () => {
  const duplicate = ackTo(0);

  test('two duplicates do nothing but let new text out (RFC 3042); the third repeats the segment', () => {
    const t = flight(15);
    t.inject(duplicate).expect(segment(11)).silence();
    t.inject(duplicate).expect(segment(12)).silence();
    t.inject(duplicate).expect(segment(1)).silence();
    expect(t.connection.info.ssthresh).toBe(5000);
    expect(t.stack.counters.tcpFastRecoveries).toBe(1);
  });

  test('§3.2 (4): each further duplicate lets another segment out once half has left', () => {
    const t = flight(20);
    t.inject(duplicate, duplicate, duplicate);
    t.sent();
    // cwnd is 5000 and 3000 for what the first three said; ten segments are under way.
    for (let i = 0; i < 2; i++) t.inject(duplicate).silence();
    t.inject(duplicate).expect(segment(11)).silence();
    t.inject(duplicate).expect(segment(12)).silence();
  });

  test('RFC 6582 §3.2 step 3: a partial acknowledgment repeats the next hole at once; a full one ends recovery', () => {
    const t = flight(10);
    t.inject(duplicate, duplicate, duplicate).expect(segment(1));
    t.inject(ackTo(4)).expect(segment(5)).silence();
    t.inject(ackTo(7)).expect(segment(8)).silence();
    t.inject(ackTo(10)).silence();
    expect(t.connection.unacknowledged).toBe(0);
    expect(t.stack.counters.tcpTimeouts).toBe(0);
    expect(t.stack.counters.tcpFastRecoveries).toBe(1);
  });

  test('RFC 6582 §3.2 step 2: after a timeout duplicates below the recovery point repeat nothing', () => {
    const t = flight(6);
    t.elapse(200).expect(segment(1));
    t.inject(ackTo(1)).expect(segment(2), segment(3));
    t.inject(ackTo(1), ackTo(1), ackTo(1)).silence();
    expect(t.stack.counters.tcpFastRecoveries).toBe(0);
  });

  test('RFC 5681 §2: an acknowledgment with text, or with another window, is no duplicate', () => {
    const t = flight(10);
    t.inject('. 1:11(10) ack 1', '. 11:21(10) ack 1', '. 21:31(10) ack 1', '. 31:31(0) ack 1 win 60000', '. 31:31(0) ack 1 win 50000');
    t.elapse(50);
    expect(t.stack.counters.tcpRetransmits).toBe(0);
  });
});

describe('recovery with SACK (RFC 6675)', () => {
  test('§5 (4): three SACKed segments above: the hole is repeated, the window halved', () => {
    const t = flight(10, {}, 'sackOK');
    t.inject(ackTo(0, ` <${sack(2, 2)}>`)).silence();
    t.inject(ackTo(0, ` <${sack(2, 3)}>`)).silence();
    t.inject(ackTo(0, ` <${sack(2, 4)}>`)).expect(segment(1));
    expect(t.connection.info).toMatchObject({ cwnd: 5000, ssthresh: 5000 });
  });

  test('§4 IsLost: one acknowledgment that reports three segments is enough', () => {
    const t = flight(10, {}, 'sackOK');
    t.inject(ackTo(0, ` <${sack(2, 4)}>`)).expect(segment(1));
  });

  test('§4 IsLost: so are three ranges apart from one another', () => {
    const t = new Drill();
    t.established({ mss: 1000, options: 'sackOK' });
    t.act((c) => c.setNoDelay(true));
    for (let i = 0; i < 8; i++) t.write(10);
    t.sent();
    t.inject('. 1:1(0) ack 1 <sack 11:21,sack 31:41,sack 51:61>').expect('. 1:11(10) ack 1');
  });

  test('§4 NextSeg (1): every hole below is repeated, as far as the pipe allows; nothing that was SACKed', () => {
    const t = flight(10, {}, 'sackOK');
    t.inject(ackTo(0, ` <${sack(8, 10)},${sack(5, 6)},${sack(2, 3)}>`))
      .expect(segment(1), segment(4), segment(7))
      .silence();
  });

  test('§5 (C): cwnd - pipe governs', () => {
    const t = flight(10, {}, 'sackOK');
    // Two holes; six segments are still thought to be in the network: more than half, so only the first retransmission goes out.
    t.inject(ackTo(0, ` <${sack(5, 5)},${sack(3, 3)},${sack(4, 4)}>`))
      .expect(segment(1))
      .silence();
    t.inject(ackTo(0, ` <${sack(3, 7)}>`))
      .expect(segment(2))
      .silence();
  });

  test('§4 NextSeg (2): new text keeps the pipe full', () => {
    const t = flight(20, {}, 'sackOK');
    t.inject(ackTo(0, ` <${sack(2, 9)}>`))
      .expect(segment(1), segment(11), segment(12), segment(13))
      .silence();
  });

  test('§5 (A): recovery ends with the acknowledgment of the recovery point, not before', () => {
    const t = flight(20, {}, 'sackOK');
    t.inject(ackTo(0, ` <${sack(2, 10)}>`));
    t.sent();
    t.inject(ackTo(10));
    expect(t.connection.info.cwnd).toBeLessThanOrEqual(5000);
    t.elapse(1);
    expect(t.stack.counters.tcpFastRecoveries).toBe(1);
    expect(t.stack.counters.tcpTimeouts).toBe(0);
  });

  test('RFC 8985 §6: a retransmission that is lost is repeated when something sent later arrives', () => {
    const t = flight(20, {}, 'sackOK');
    t.inject(ackTo(0, ` <${sack(2, 9)}>`)).expect(segment(1), segment(11), segment(12), segment(13));
    t.elapse(20);
    // What was sent after the retransmission of 1 arrives, 1 does not.
    t.inject(ackTo(0, ` <${sack(2, 13)}>`));
    expect(t.sent()[0]).toBe(`${segment(1)} win 65535`);
    expect(t.stack.counters.tcpTimeouts).toBe(0);
  });

  test('RFC 8985 §6.2 (3): a path that reorders is noticed, and no longer mistaken for loss', () => {
    const t = flight(10, {}, 'sackOK');
    t.elapse(40);
    t.inject(ackTo(0, ` <${sack(2, 2)}>`));
    // The first one was only late.
    t.inject(ackTo(2)).sent();
    t.write(10_000);
    t.sent();
    t.elapse(40);
    t.inject(ackTo(2, ` <${sack(4, 7)}>`));
    expect(t.stack.counters.tcpFastRecoveries).toBe(0);
    t.elapse(1).inject(ackTo(7));
    expect(t.stack.counters.tcpRetransmits).toBe(0);
  });

  test('RFC 8985 §6.2 (5): but what stays away is repeated when the reordering timer fires', () => {
    const t = new Drill();
    t.connect();
    t.elapse(40).inject('S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>').sent();
    t.write(3000);
    t.sent();
    t.elapse(40);
    // One SACKed segment: too little for three duplicates, and no new text to bring more.
    t.inject(ackTo(0, ` <${sack(2, 2)}>`)).silence();
    t.expectAfter(10, segment(1));
    expect(t.stack.counters.tcpTimeouts).toBe(0);
  });

  test('blocks that lie are ignored', () => {
    const t = flight(10, {}, 'sackOK');
    t.inject(
      '. 1:1(0) ack 1 <sack 20001:30001>',
      '. 1:1(0) ack 1 <sack 5001:2001>',
      '. 1:1(0) ack 1 <sack -5000:-1000>',
      '. 1:1(0) ack 1 <sack 1:1>',
    );
    t.elapse(50);
    expect(t.stack.counters.tcpFastRecoveries).toBe(0);
    expect(t.connection.info.inFlight).toBe(10_000);
  });
});

describe('tail loss probe (RFC 8985 §7)', () => {
  function measured(octets: number): Drill {
    const t = new Drill();
    t.connect();
    t.elapse(30).inject('S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>').sent();
    t.write(octets);
    return t;
  }

  test('§7.2: two round trips after the last segment it is sent again, long before the timeout', () => {
    const t = measured(4000);
    t.expect(segment(1), segment(2), segment(3), segment(4, true));
    t.silence(59).expectAfter(1, segment(4, true));
    expect(t.stack.counters.tcpTimeouts).toBe(0);
  });

  test('§7.3: new text rather than old', () => {
    const t = measured(15_000);
    expect(t.sent()).toHaveLength(10);
    t.expectAfter(60, segment(11)).silence(100);
  });

  test('§7.4.1: its answer shows what is missing', () => {
    const t = measured(4000);
    t.sent();
    t.elapse(60);
    t.expect(segment(4, true));
    t.elapse(30).inject(ackTo(2, ` <${sack(4, 4)}>`));
    t.elapse(20);
    t.expect(segment(3));
    t.inject(ackTo(4));
    expect(t.connection.unacknowledged).toBe(0);
    expect(t.stack.counters.tcpTimeouts).toBe(0);
  });

  test('§7.3: one probe only; then the timer rules', () => {
    const t = measured(4000);
    t.sent();
    t.elapse(60).expect(segment(4, true));
    t.silence(229).expectAfter(1, segment(1));
  });

  test('§7.4.2: a loss that the probe repaired halves the window', () => {
    const t = measured(4000);
    t.sent();
    t.elapse(60).expect(segment(4, true));
    t.inject(ackTo(4));
    t.write(2000);
    t.sent();
    const before = t.connection.info.cwnd;
    t.inject(ackTo(6));
    expect(t.connection.info.cwnd).toBeLessThan(before);
  });

  test('§7.4.2: a probe that was not needed does not', () => {
    const t = measured(4000);
    t.sent();
    t.elapse(60).expect(segment(4, true));
    // D-SACK: the last segment came twice.
    t.inject(ackTo(4, ' <sack 3001:4001>'));
    t.write(2000);
    t.sent();
    const before = t.connection.info.cwnd;
    t.inject(ackTo(6));
    expect(t.connection.info.cwnd).toBeGreaterThanOrEqual(before);
  });
});

describe('what a receiver reports', () => {
  test('RFC 2018 §4: the range that just grew comes first, the others behind it, at most four', () => {
    const t = new Drill();
    t.established({ options: 'sackOK' });
    t.inject('. 101:201(100) ack 1').expect('. 1:1(0) ack 1 <sack 101:201>');
    t.inject('. 301:401(100) ack 1').expect('. 1:1(0) ack 1 <sack 301:401,sack 101:201>');
    t.inject('. 201:301(100) ack 1').expect('. 1:1(0) ack 1 <sack 101:401>');
    t.inject('. 501:601(100) ack 1', '. 701:801(100) ack 1', '. 901:1001(100) ack 1', '. 1101:1201(100) ack 1');
    t.expect('. 1:1(0) ack 1 <sack 1101:1201,sack 901:1001,sack 701:801,sack 501:601>');
    t.inject('. 1:101(100) ack 1').expect('. 1:1(0) ack 401 <sack 1101:1201,sack 901:1001,sack 701:801,sack 501:601>');
  });

  test('RFC 2883 §4: what came twice is told first, once', () => {
    const t = new Drill();
    t.established({ options: 'sackOK' });
    t.inject('. 1:101(100) ack 1').sent();
    t.inject('. 1:101(100) ack 1').expect('. 1:1(0) ack 101 <sack 1:101>');
    t.inject('. 201:301(100) ack 1').expect('. 1:1(0) ack 101 <sack 201:301>');
    t.inject('. 211:221(10) ack 1').expect('. 1:1(0) ack 101 <sack 211:221,sack 201:301>');
  });

  test('without SACK every segment out of order is a duplicate acknowledgment of its own', () => {
    const t = new Drill();
    t.established();
    t.inject('. 101:201(100) ack 1', '. 201:301(100) ack 1', '. 301:401(100) ack 1');
    t.expect('. 1:1(0) ack 1', '. 1:1(0) ack 1', '. 1:1(0) ack 1').silence();
  });

  test('text makes room for the blocks', () => {
    const t = new Drill();
    t.established({ mss: 1000, options: 'sackOK' });
    t.inject('. 101:201(100) ack 1').sent();
    t.write(2000);
    t.expect('. 1:989(988) ack 1 <sack 101:201>');
  });
});

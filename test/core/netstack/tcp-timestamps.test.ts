import { describe, expect, test } from 'vitest';
import { Drill } from './support/drill.ts';

/** Timestamps agreed; the peer's clock began at 1000. */
function agreed(): Drill {
  const t = new Drill({ tcp: { timestamps: true } });
  t.peerClock = 1000;
  t.established({ options: 'sackOK' });
  return t;
}

describe('PAWS (RFC 7323 §5)', () => {
  test('§5.3 R1: a segment from the past is dropped and answered', () => {
    const t = agreed();
    t.inject('. 1:101(100) ack 1 <ts 1000 0>').sent();
    t.inject('. 101:201(100) ack 1 <ts 999 0>').expect('. 1:1(0) ack 101');
    expect(t.connection.readable).toBe(100);
    expect(t.stack.counters.tcpPaws).toBe(1);
  });

  test('§5.3 R1: its clock may wrap', () => {
    const t = new Drill({ tcp: { timestamps: true } });
    t.peerClock = -5;
    t.established();
    t.inject('. 1:101(100) ack 1 <ts -1 0>', '. 101:201(100) ack 1 <ts 3 0>');
    expect(t.connection.readable).toBe(200);
  });

  test('§5.2: a reset is taken whatever its timestamp', () => {
    const t = agreed();
    t.inject('R 1:1(0) <ts 5 0>');
    expect(t.connection.error).toBe('ECONNRESET');
  });

  test('§3.2: a segment without timestamps is dropped in silence', () => {
    const t = agreed();
    t.peerClock = undefined;
    t.inject('. 1:101(100) ack 1').silence(100);
    expect(t.connection.readable).toBe(0);
  });

  test('§5.5: after 24 days of silence the old timestamp is worth nothing', () => {
    const t = agreed();
    t.elapse(25 * 24 * 3600 * 1000);
    t.inject('. 1:101(100) ack 1 <ts 1 0>');
    expect(t.connection.readable).toBe(100);
  });
});

describe('which timestamp is echoed (RFC 7323 §4.3)', () => {
  /** TSecr of the last segment that was sent. */
  function echoed(t: Drill): number {
    const packet = t.sentPackets().at(-1)!;
    return new DataView(packet.buffer, packet.byteOffset).getInt32(20 + 20 + 8);
  }

  test('(A): with delayed acknowledgments the earliest that is unacknowledged', () => {
    const t = agreed();
    let at = 1;
    for (let i = 0; i < 16; i++, at += 100) t.inject(`. ${at}:${at + 100}(100) ack 1 <ts 1000 0>`);
    t.elapse(50).sentPackets();
    t.inject(`. ${at}:${at + 100}(100) ack 1 <ts 1001 0>`).silence();
    t.inject(`. ${at + 100}:${at + 200}(100) ack 1 <ts 1002 0>`);
    expect(echoed(t)).toBe(1001);
  });

  test('(B): behind a hole the one that moved the edge last', () => {
    const t = agreed();
    t.inject('. 1:101(100) ack 1 <ts 1001 0>').sentPackets();
    t.inject('. 201:301(100) ack 1 <ts 1003 0>');
    expect(echoed(t)).toBe(1001);
  });

  test('(C): the one that fills the hole', () => {
    const t = agreed();
    t.inject('. 101:201(100) ack 1 <ts 1002 0>').sentPackets();
    t.inject('. 1:101(100) ack 1 <ts 1009 0>');
    expect(echoed(t)).toBe(1009);
  });
});

test('RFC 7323 §5.4: every connection has its own offset', () => {
  const clocks = [8080, 8081].map((peerPort) => {
    const t = new Drill({ tcp: { timestamps: true }, peerPort });
    t.connect();
    const [syn] = t.sentPackets();
    return new DataView(syn!.buffer, syn!.byteOffset).getInt32(20 + 20 + 4 + 4);
  });
  expect(clocks[0]).not.toBe(clocks[1]);
});

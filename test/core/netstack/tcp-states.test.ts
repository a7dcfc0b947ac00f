import { describe, expect, test } from 'vitest';
import { InternalError } from '../../../src/core/bytes/index.ts';
import { Ready, type TcpState } from '../../../src/core/netstack/index.ts';
import { assertTransition, TRANSITIONS } from '../../../src/core/netstack/tcp/state.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Drill } from './support/drill.ts';
import { CONNECTION_STATES, type ConnectionState, inState } from './support/states.ts';

/** RCV.NXT and SND.NXT of `inState`, relative. */
const NEXT: Readonly<Record<ConnectionState, { readonly rcv: number; readonly snd: number }>> = {
  'SYN-SENT': { rcv: 0, snd: 1 },
  'SYN-RECEIVED': { rcv: 1, snd: 1 },
  ESTABLISHED: { rcv: 1, snd: 1 },
  'FIN-WAIT-1': { rcv: 1, snd: 2 },
  'FIN-WAIT-2': { rcv: 1, snd: 2 },
  'CLOSE-WAIT': { rcv: 2, snd: 1 },
  CLOSING: { rcv: 2, snd: 2 },
  'LAST-ACK': { rcv: 2, snd: 2 },
  'TIME-WAIT': { rcv: 2, snd: 2 },
};
const RECEIVED = CONNECTION_STATES.filter((state) => state !== 'SYN-SENT');
const SYNCHRONIZED = RECEIVED.filter((state) => state !== 'SYN-RECEIVED');

describe('the table', () => {
  test('RFC 9293 §3.3.2 figure 5', () => {
    const rows = Object.entries(TRANSITIONS).map(([from, to]) => `${from} → ${to.join(', ')}`);
    expect(rows).toEqual([
      'CLOSED → LISTEN, SYN-SENT, SYN-RECEIVED',
      'LISTEN → CLOSED',
      'SYN-SENT → SYN-RECEIVED, ESTABLISHED, CLOSED',
      'SYN-RECEIVED → ESTABLISHED, CLOSED',
      'ESTABLISHED → FIN-WAIT-1, CLOSE-WAIT, CLOSED',
      'FIN-WAIT-1 → FIN-WAIT-2, CLOSING, CLOSED',
      'FIN-WAIT-2 → TIME-WAIT, CLOSED',
      'CLOSE-WAIT → LAST-ACK, CLOSED',
      'CLOSING → TIME-WAIT, CLOSED',
      'LAST-ACK → CLOSED',
      'TIME-WAIT → CLOSED',
    ]);
  });

  test('any other change is our own mistake, and says which', () => {
    expect(() => assertTransition('TIME-WAIT', 'ESTABLISHED')).toThrow(InternalError);
    expect(() => assertTransition('TIME-WAIT', 'ESTABLISHED')).toThrow('from TIME-WAIT to ESTABLISHED');
  });
});

describe('closing', () => {
  test('RFC 9293 §3.6 figure 12: we close first', () => {
    const t = new Drill();
    const connection = t.established();
    t.act((c) => c.shutdown());
    expect(connection.state).toBe('FIN-WAIT-1');
    t.expect('F. 1:1(0) ack 1');
    t.inject('. 1:1(0) ack 2').silence();
    expect(connection.state).toBe('FIN-WAIT-2');
    t.inject('F. 1:1(0) ack 2').expect('. 2:2(0) ack 2');
    expect(connection.state).toBe('TIME-WAIT');
    t.silence(59_000);
    t.elapse(1000);
    expect(connection.state).toBe('CLOSED');
    expect(connection.error).toBeUndefined();
    expect(t.stack.connectionCount).toBe(0);
  });

  test('RFC 9293 §3.6 figure 12: the peer closes first', () => {
    const t = new Drill();
    const connection = t.established();
    connection.takeEvents();
    t.inject('F. 1:1(0) ack 1').expect('. 1:1(0) ack 2');
    expect(connection.state).toBe('CLOSE-WAIT');
    expect(connection.ended).toBe(true);
    expect(connection.takeEvents() & Ready.ENDED).toBe(Ready.ENDED);
    t.write(10);
    t.expect('P. 1:11(10) ack 2');
    t.act((c) => c.shutdown());
    t.expect('F. 11:11(0) ack 2');
    expect(connection.state).toBe('LAST-ACK');
    t.inject('. 2:2(0) ack 12').silence();
    expect(connection.state).toBe('CLOSED');
    expect(connection.takeEvents() & Ready.CLOSED).toBe(Ready.CLOSED);
    expect(t.stack.connectionCount).toBe(0);
  });

  test('RFC 9293 §3.6 figure 13: both at once', () => {
    const t = new Drill();
    t.established();
    t.act((c) => c.shutdown());
    t.expect('F. 1:1(0) ack 1');
    t.inject('F. 1:1(0) ack 1').expect('. 2:2(0) ack 2');
    expect(t.connection.state).toBe('CLOSING');
    t.inject('. 2:2(0) ack 2').silence();
    expect(t.connection.state).toBe('TIME-WAIT');
  });

  test('FIN follows the last octet, in its segment when it can', () => {
    const t = new Drill();
    t.established();
    t.write(2000);
    t.act((c) => c.shutdown());
    t.expect('. 1:1461(1460) ack 1', 'FP. 1461:2001(540) ack 1');
    expect(t.write(10)).toBe(0);
  });

  test('RFC 9293 §3.10.4: our side may be closed while the peer goes on sending', () => {
    const t = inState('FIN-WAIT-2');
    t.inject('. 1:1001(1000) ack 2', 'FP. 1001:2001(1000) ack 2');
    expect(t.connection.state).toBe('TIME-WAIT');
    expect(t.read()).toBe(2000);
    expect(t.connection.ended).toBe(true);
  });

  test('a FIN that came too early is taken in its turn', () => {
    const t = new Drill();
    t.established();
    t.inject('FP. 101:201(100) ack 1').expect('. 1:1(0) ack 1');
    expect(t.connection.state).toBe('ESTABLISHED');
    t.inject('. 1:101(100) ack 1').expect('. 1:1(0) ack 202');
    expect(t.connection.state).toBe('CLOSE-WAIT');
    expect(t.read()).toBe(200);
  });

  test('text behind a FIN is nonsense and is not taken', () => {
    const t = new Drill();
    t.established();
    t.inject('F. 101:101(0) ack 1', '. 101:151(50) ack 1', '. 1:101(100) ack 1');
    expect(t.read()).toBe(100);
    expect(t.connection.state).toBe('CLOSE-WAIT');
  });

  test('a FIN is sent again like any segment', () => {
    const t = inState('FIN-WAIT-1');
    t.expectAfter(200, 'F. 1:1(0) ack 1').expectAfter(400, 'F. 1:1(0) ack 1');
  });

  test('RFC 9293 §3.10.7.4, eighth: a copy of the FIN in TIME-WAIT is acknowledged and restarts 2 MSL', () => {
    const t = inState('TIME-WAIT');
    t.elapse(50_000).inject('F. 1:1(0) ack 2').expect('. 2:2(0) ack 2');
    t.elapse(50_000);
    expect(t.connection.state).toBe('TIME-WAIT');
    t.elapse(10_000);
    expect(t.connection.state).toBe('CLOSED');
  });

  test('close: what was written is delivered, what arrives resets (RFC 9293 §3.6.1)', () => {
    const t = new Drill();
    t.established();
    t.write(100);
    t.act((c) => c.close());
    t.expect('P. 1:101(100) ack 1', 'F. 101:101(0) ack 1');
    t.inject('. 1:51(50) ack 102').expect('R 102:102(0)');
    expect(t.connection.state).toBe('CLOSED');
  });

  test('close with octets unread resets (RFC 9293 §3.6.1)', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:51(50) ack 1').sent();
    t.act((c) => c.close());
    t.expect('R 1:1(0)');
    expect(t.stack.connectionCount).toBe(0);
    expect(t.stack.bufferMemory).toBe(0);
  });

  test('after close FIN-WAIT-2 does not last for ever; after shutdown it does', () => {
    const closed = new Drill();
    closed.established();
    closed.act((c) => c.close());
    closed.inject('. 1:1(0) ack 2');
    closed.elapse(60_000);
    expect(closed.stack.connectionCount).toBe(0);
    const half = inState('FIN-WAIT-2');
    half.elapse(10_000_000);
    expect(half.connection.state).toBe('FIN-WAIT-2');
  });

  test('what arrived before an orderly end can still be read afterwards', () => {
    const t = new Drill();
    t.established();
    t.inject('FP. 1:101(100) ack 1');
    t.act((c) => c.shutdown());
    t.inject('. 102:102(0) ack 2');
    expect(t.connection.state).toBe('CLOSED');
    expect(t.read()).toBe(100);
    expect(t.connection.ended).toBe(true);
  });
});

describe('TIME-WAIT and new connections', () => {
  test('RFC 9293 §3.10.7.4: without timestamps a SYN beyond the old numbers opens anew', () => {
    const t = inState('TIME-WAIT', {});
    const before = t.iss;
    t.stack.listen({ port: t.connection.local.port });
    t.inject('S 100:100(0) <mss 1460>');
    expect(t.sent()[0]).toContain('S. 0:0(0) ack 101');
    // RFC 9293 §3.4.3: and our number is beyond everything that was used.
    expect((t.iss - before) | 0).toBeGreaterThan(2);
    expect(t.stack.connectionCount).toBe(1);
  });

  test('a SYN with an old number does not', () => {
    const t = inState('TIME-WAIT');
    t.stack.listen({ port: t.connection.local.port });
    t.inject('S 1:1(0) <mss 1460>').expect('. 2:2(0) ack 2');
    expect(t.connection.state).toBe('TIME-WAIT');
  });

  test('RFC 6191 §2: with timestamps a later one opens anew, whatever the number', () => {
    const t = new Drill({ tcp: { timestamps: true } });
    t.peerClock = 1000;
    t.established();
    t.act((c) => c.shutdown());
    t.inject('F. 1:1(0) ack 2').sent();
    t.stack.listen({ port: t.connection.local.port });
    t.inject('S -5000:-5000(0) <mss 1460,ts 500 0>');
    expect(t.connection.state).toBe('TIME-WAIT');
    t.sent();
    t.inject('S -5000:-5000(0) <mss 1460,ts 2000 0>');
    expect(t.sent()[0]).toMatch(/^S\. 0:0\(0\) ack -4999/);
  });

  test('our own side may open again from the same port if timestamps protect it', () => {
    const t = new Drill({ tcp: { timestamps: true } });
    t.peerClock = 1000;
    const connection = t.established();
    t.act((c) => c.shutdown());
    t.inject('F. 1:1(0) ack 2').sent();
    expect(connection.state).toBe('TIME-WAIT');
    const before = t.iss;
    t.connect(undefined, connection.local.port);
    expect((t.iss - before) | 0).toBeGreaterThan(2);
    expect(t.stack.connectionCount).toBe(1);
    expect(() => t.connect(undefined, connection.local.port)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
  });

  test('there are only so many: the oldest is forgotten', () => {
    const t = new Drill({ tcp: { maxTimeWait: 2 } });
    for (let port = 1; port <= 3; port++) {
      t.connect();
      t.inject('S. 0:0(0) ack 1 <mss 1460>');
      t.act((c) => c.shutdown());
      t.inject('F. 1:1(0) ack 2').sent();
    }
    expect(t.stack.connectionCount).toBe(2);
  });
});

describe.each(RECEIVED)('%s', (state) => {
  const { rcv, snd } = NEXT[state];

  test('RFC 5961 §3.2: a reset with exactly the next number ends it', () => {
    const t = inState(state);
    t.inject(`R ${rcv}:${rcv}(0)`).silence();
    expect(t.connection.state).toBe('CLOSED');
    const orderly = state === 'CLOSING' || state === 'LAST-ACK' || state === 'TIME-WAIT';
    expect(t.connection.error).toBe(orderly ? undefined : state === 'SYN-RECEIVED' ? 'ECONNREFUSED' : 'ECONNRESET');
    expect(t.stack.connectionCount).toBe(0);
  });

  test('RFC 5961 §3.2: one elsewhere in the window is challenged, one outside is dropped', () => {
    const t = inState(state);
    t.inject(`R ${rcv + 1}:${rcv + 1}(0)`).expect(`. ${snd}:${snd}(0) ack ${rcv}`);
    t.inject(`R ${rcv - 1}:${rcv - 1}(0)`, `R ${rcv + 1_000_000}:${rcv + 1_000_000}(0)`).silence();
    expect(t.connection.state).toBe(state);
  });

  test('RFC 5961 §4.2: a SYN is challenged, whatever its number', () => {
    const t = inState(state);
    t.inject(`S ${rcv + 10}:${rcv + 10}(0)`).expect(`. ${snd}:${snd}(0) ack ${rcv}`);
    t.inject(`S ${rcv - 1000}:${rcv - 1000}(0)`).expect(`. ${snd}:${snd}(0) ack ${rcv}`);
    expect(t.connection.state).toBe(state);
  });

  test('RFC 9293 §3.10.7.4, first: text far outside of the window is answered with where we stand', () => {
    const t = inState(state);
    t.inject(`. ${rcv + 1_000_000}:${rcv + 1_000_010}(10) ack ${snd}`).expect(`. ${snd}:${snd}(0) ack ${rcv}`);
    expect(t.connection.state).toBe(state);
  });

  test('RFC 9293 §3.10.7.4, fifth: a segment without ACK is dropped', () => {
    const t = inState(state);
    t.inject(`P ${rcv}:${rcv + 5}(5)`).silence();
    expect(t.connection.state).toBe(state);
  });

  test('RFC 9293 §3.10.5: abort', () => {
    const t = inState(state);
    t.act((c) => c.abort());
    if (state === 'CLOSING' || state === 'LAST-ACK' || state === 'TIME-WAIT') t.silence();
    else t.expect(`R ${snd}:${snd}(0)`);
    expect(t.connection.state).toBe('CLOSED');
    expect(t.stack.connectionCount).toBe(0);
    expect(t.stack.nextDeadline()).toBeUndefined();
  });

  test('the address goes away: EADDRNOTAVAIL, in silence', () => {
    const t = inState(state);
    t.stack.setAddresses(['10.1.0.9']);
    t.inject().silence();
    expect(t.connection.error).toBe('EADDRNOTAVAIL');
  });
});

describe.each(SYNCHRONIZED)('%s', (state) => {
  const { rcv, snd } = NEXT[state];

  test('RFC 5961 §5.2: an acknowledgment of what was never sent, or long ago, is challenged', () => {
    const t = inState(state);
    t.inject(`. ${rcv}:${rcv}(0) ack ${snd + 1}`).expect(`. ${snd}:${snd}(0) ack ${rcv}`);
    t.inject(`. ${rcv}:${rcv}(0) ack ${snd - 100_000}`).expect(`. ${snd}:${snd}(0) ack ${rcv}`);
    expect(t.connection.state).toBe(state);
  });

  test('RFC 5961 §7: ten challenges a second, no more', () => {
    const t = inState(state);
    for (let i = 0; i < 50; i++) t.inject(`R ${rcv + 5}:${rcv + 5}(0)`);
    expect(t.sent()).toHaveLength(10);
    expect(t.stack.counters.tcpChallengeAcksSuppressed).toBe(40);
    t.elapse(1001);
    t.sent();
    t.inject(`R ${rcv + 5}:${rcv + 5}(0)`);
    expect(t.sent().length).toBeGreaterThan(0);
  });
});

test.each(CONNECTION_STATES)('hostile segments in %s: nothing throws, nothing hangs, memory stays bounded', (state) => {
  for (let seed = 0; seed < 12; seed++) {
    const random = new SeededRandom(seed, state);
    const t = inState(state, { tcp: { timestamps: seed % 2 === 0 } });
    for (let i = 0; i < 300; i++) {
      t.inject(randomSegment(random));
      if (random.chance(0.05)) t.write(random.between(0, 5000));
      if (random.chance(0.05)) t.read();
      if (random.chance(0.05)) t.elapse(random.between(0, 500));
      t.sentPackets();
    }
    expect(t.stack.bufferMemory).toBeLessThan(8 << 20);
    expect(CONNECTED_OR_NOT).toContain(t.connection.state);
    t.act((c) => c.abort());
    t.elapse(500_000);
    expect(t.stack.connectionCount).toBe(0);
    expect(t.stack.bufferMemory).toBe(0);
    expect(t.stack.nextDeadline()).toBeUndefined();
  }
});

const CONNECTED_OR_NOT: readonly TcpState[] = ['CLOSED', ...CONNECTION_STATES];

/** Near enough to the truth that every path is taken. */
function randomSegment(random: SeededRandom): string {
  const letters = ['.', '.', '.', 'P.', 'F.', 'FP.', 'S', 'S.', 'R', 'R.', 'U.', 'FSRPU.', 'F'];
  const near = (): number => random.pick([-70_000, -1000, -1, 0, 1, 2, 3, 100, 1000, 1461, 30_000, 65_536, 200_000]) + random.between(0, 3);
  const seq = near();
  const length = random.chance(0.5) ? 0 : random.between(0, 1400);
  const options: string[] = [];
  if (random.chance(0.3)) options.push(`sack ${near()}:${near()}`, `sack ${near()}:${near()}`);
  if (random.chance(0.2)) options.push(`ts ${random.u32() | 0} ${random.u32() | 0}`);
  if (random.chance(0.1)) options.push(`mss ${random.between(0, 65535)}`, `wscale ${random.between(0, 255)}`);
  const fits = options.filter((option) => !option.startsWith('sack') || options.length < 4);
  const ack = random.chance(0.9) ? ` ack ${near()}` : '';
  return `${random.pick(letters)} ${seq}:${seq + length}(${length})${ack} win ${random.between(0, 65535)}${fits.length > 0 ? ` <${fits.join(',')}>` : ''}`;
}

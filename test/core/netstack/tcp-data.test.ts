import { describe, expect, test } from 'vitest';
import { Ready } from '../../../src/core/netstack/index.ts';
import { Drill } from './support/drill.ts';

describe('sending', () => {
  test.each([
    { where: 'across 2^31', iss: 0x7fffff00 },
    { where: 'across 2^32', iss: 0xffffff00 },
  ])('RFC 9293 §3.4: sequence numbers wrap $where', ({ iss }) => {
    const t = new Drill({ iss: iss | 0, peerIss: iss | 0 });
    t.established();
    expect(t.iss).toBe(iss | 0);
    t.write(1460 * 3);
    t.expect('. 1:1461(1460) ack 1', '. 1461:2921(1460) ack 1', 'P. 2921:4381(1460) ack 1');
    t.inject('. 1:1461(1460) ack 4381', '. 1461:2921(1460) ack 4381').expect('. 4381:4381(0) ack 2921').silence(1000);
    expect(t.read()).toBe(2920);
    expect(t.connection.unacknowledged).toBe(0);
  });

  test('RFC 9293 §3.7.4: Nagle holds a short segment back while something is unacknowledged', () => {
    const t = new Drill();
    t.established();
    t.write(100);
    t.expect('P. 1:101(100) ack 1');
    t.write(100);
    t.write(200);
    t.silence();
    t.inject('. 1:1(0) ack 101').expect('P. 101:401(300) ack 1').silence();
  });

  test('RFC 9293 §3.7.4: a full segment does not wait', () => {
    const t = new Drill();
    t.established();
    t.write(100);
    t.sent();
    t.write(1500);
    t.expect('. 101:1561(1460) ack 1').silence();
  });

  test('RFC 9293 §3.7.4 MUST-17: Nagle can be turned off', () => {
    const t = new Drill();
    t.established();
    t.act((c) => c.setNoDelay(true));
    for (let i = 0; i < 3; i++) t.write(100);
    t.expect('P. 1:101(100) ack 1', 'P. 101:201(100) ack 1', 'P. 201:301(100) ack 1');
  });

  test('turning Nagle off sends what was held back', () => {
    const t = new Drill();
    t.established();
    t.write(100);
    t.write(50);
    t.expect('P. 1:101(100) ack 1').silence();
    t.act((c) => c.setNoDelay(true));
    t.expect('P. 101:151(50) ack 1');
  });

  test('RFC 9293 §3.8.6.2.1: a window smaller than a segment is not filled at once, but after the override timeout', () => {
    const t = new Drill();
    t.established({ window: 10000 });
    t.write(1460 * 6);
    t.sent();
    // 300 octets are less than a segment, and less than half of the largest window.
    t.inject('. 1:1(0) ack 8761 win 300');
    t.write(5000);
    t.silence(150).expectAfter(50, '. 8761:9061(300) ack 1');
  });

  test('RFC 9293 §3.8.6.2.1 (3): half of the largest window is worth sending', () => {
    const t = new Drill();
    t.established({ window: 1000 });
    t.write(3000);
    t.expect('. 1:1001(1000) ack 1');
    t.inject('. 1:1(0) ack 1001 win 500').expect('. 1001:1501(500) ack 1');
  });

  test('RFC 9293 §3.10.7.4, fifth: an old segment does not move the window', () => {
    const t = new Drill();
    t.established({ window: 5000 });
    t.inject('. 1:11(10) ack 1 win 8000');
    expect(t.connection.info.sendWindow).toBe(8000);
    t.inject('. 1:1(0) ack 1 win 100');
    expect(t.connection.info.sendWindow).toBe(8000);
  });

  test('write takes what fits, and tells when there is room', () => {
    const t = new Drill({ tcp: { sendBuffer: 10000, maxSendBuffer: 10000 } });
    const connection = t.established();
    connection.takeEvents();
    expect(t.write(15000)).toBe(10000);
    expect(connection.writable).toBe(0);
    expect(t.write(1)).toBe(0);
    t.sent();
    t.inject('. 1:1(0) ack 1461');
    expect(connection.takeEvents() & Ready.WRITABLE).toBe(0);
    t.inject('. 1:1(0) ack 5841');
    expect(connection.takeEvents() & Ready.WRITABLE).toBe(Ready.WRITABLE);
    expect(connection.writable).toBe(5840);
  });

  test('RFC 9293 §3.9.1 MUST-60: PSH stands where the data ends', () => {
    const t = new Drill();
    t.established();
    t.write(1460);
    t.expect('P. 1:1461(1460) ack 1');
    t.write(1470);
    t.expect('. 1461:2921(1460) ack 1');
  });

  test('RFC 6928: ten segments at first', () => {
    const t = new Drill();
    t.established();
    t.write(1460 * 20);
    expect(t.sent()).toHaveLength(10);
  });

  test('RFC 5681 §4.1: after silence the window begins small again', () => {
    const t = new Drill();
    t.established();
    t.write(1460 * 40);
    for (let acked = 0; acked < 40; ) {
      acked += t.sent().length;
      t.inject(`. 1:1(0) ack ${1 + 1460 * acked}`);
    }
    t.sent();
    expect(t.connection.info.cwnd).toBeGreaterThan(1460 * 20);
    t.elapse(5000);
    t.write(1460 * 40);
    expect(t.sent()).toHaveLength(10);
  });
});

describe('the zero window', () => {
  test('RFC 9293 §3.8.6.1: one octet is sent after a timeout, then less and less often', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:1(0) ack 1 win 0');
    t.write(1000);
    t.silence(190).expectAfter(10, '. 1:2(1) ack 1');
    for (const delay of [400, 800, 1600, 3200]) {
      t.inject('. 1:1(0) ack 1 win 0').silence();
      t.expectAfter(delay, '. 1:2(1) ack 1');
    }
    expect(t.stack.counters.tcpZeroWindowProbes).toBe(5);
  });

  test('the window opens: everything goes, the probe too', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:1(0) ack 1 win 0');
    t.write(3000);
    t.expectAfter(200, '. 1:2(1) ack 1');
    t.inject('. 1:1(0) ack 1 win 10000').expect('. 1:2(1) ack 1', '. 2:1462(1460) ack 1', '. 1462:2922(1460) ack 1').silence();
    t.inject('. 1:1(0) ack 2922').expect('P. 2922:3001(79) ack 1');
  });

  test('a probe that was taken is acknowledged; the rest still waits', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:1(0) ack 1 win 0');
    t.write(3000);
    t.expectAfter(200, '. 1:2(1) ack 1');
    t.inject('. 1:1(0) ack 2 win 0').silence(300);
    t.expectAfter(100, '. 2:3(1) ack 1');
    t.inject('. 1:1(0) ack 3 win 65535').expect('. 3:1463(1460) ack 1');
  });

  test('RFC 9293 §3.8.6.1 MUST-37: a peer that answers keeps the connection, however long its window stays closed', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:1(0) ack 1 win 0');
    t.write(10);
    for (let i = 0; i < 40; i++) {
      t.elapse(60_000);
      t.sent();
      t.inject('. 1:1(0) ack 1 win 0');
    }
    expect(t.connection.state).toBe('ESTABLISHED');
  });

  test('a peer that stops answering probes is given up', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:1(0) ack 1 win 0');
    t.write(10);
    t.elapse(400_000);
    expect(t.connection.error).toBe('ETIMEDOUT');
  });

  test('only FIN is left: it probes too', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:1(0) ack 1 win 0');
    t.act((c) => c.shutdown());
    t.expectAfter(200, 'F. 1:1(0) ack 1');
    t.inject('. 1:1(0) ack 2 win 0');
    expect(t.connection.state).toBe('FIN-WAIT-2');
  });

  test('a window that shrinks to nothing under data: retransmission goes on, and recovers', () => {
    const t = new Drill();
    t.established();
    t.write(1460);
    t.sent();
    t.inject('. 1:1(0) ack 1 win 0');
    t.elapse(200);
    expect(t.sent()).toContain('P. 1:1461(1460) ack 1 win 65535');
    t.inject('. 1:1(0) ack 1 win 65535');
    t.elapse(1000);
    expect(t.sent().length).toBeGreaterThan(0);
    t.inject('. 1:1(0) ack 1461');
    expect(t.connection.unacknowledged).toBe(0);
  });
});

describe('receiving', () => {
  /** The first segments are acknowledged at once; these drills begin behind them. */
  function settled(options?: ConstructorParameters<typeof Drill>[0]): { t: Drill; at: number } {
    const t = new Drill(options);
    t.established();
    let at = 1;
    for (let i = 0; i < 16; i++) {
      t.inject(`. ${at}:${at + 1000}(1000) ack 1`);
      at += 1000;
    }
    t.elapse(100);
    t.read();
    t.sent();
    return { t, at };
  }

  test('RFC 9293 §3.8.6.3: an acknowledgment is put off, by less than half a second', () => {
    const { t, at } = settled();
    t.inject(`. ${at}:${at + 1000}(1000) ack 1`)
      .silence(39)
      .expectAfter(1, `. 1:1(0) ack ${at + 1000}`);
  });

  test('RFC 5681 §4.2: but not beyond the second full-sized segment', () => {
    const { t, at } = settled();
    t.inject(`. ${at}:${at + 1000}(1000) ack 1`).silence();
    t.inject(`. ${at + 1000}:${at + 2000}(1000) ack 1`)
      .expect(`. 1:1(0) ack ${at + 2000}`)
      .silence(100);
  });

  test('RFC 9293 §3.10.7.4 MUST-59: segments that arrived together are acknowledged together', () => {
    const { t, at } = settled();
    t.inject(...[0, 1, 2, 3, 4, 5].map((i) => `. ${at + 1000 * i}:${at + 1000 * (i + 1)}(1000) ack 1`))
      .expect(`. 1:1(0) ack ${at + 6000}`)
      .silence(100);
  });

  test('an acknowledgment rides on data that leaves', () => {
    const { t, at } = settled();
    t.inject(`. ${at}:${at + 10}(10) ack 1`);
    t.write(5);
    t.expect(`P. 1:6(5) ack ${at + 10}`).silence(100);
  });

  test('RFC 9293 SHLD-31, RFC 5681 §4.2: text out of order is held, and acknowledged at once', () => {
    const { t, at } = settled();
    t.inject(`. ${at + 1000}:${at + 2000}(1000) ack 1`).expect(`. 1:1(0) ack ${at}`);
    t.inject(`. ${at + 2000}:${at + 3000}(1000) ack 1`).expect(`. 1:1(0) ack ${at}`);
    expect(t.connection.readable).toBe(0);
    t.inject(`. ${at}:${at + 1000}(1000) ack 1`).expect(`. 1:1(0) ack ${at + 3000}`);
    expect(t.read()).toBe(3000);
  });

  test('what overlaps is taken once, and from the right place', () => {
    const t = new Drill();
    t.established();
    t.inject('. 1:101(100) ack 1', '. 51:151(100) ack 1', '. 201:301(100) ack 1', '. 101:251(150) ack 1');
    expect(t.read()).toBe(300);
    expect(t.sent().at(-1)).toContain('ack 301');
  });

  test('RFC 9293 §3.10.7.4: text beyond the window is cut off', () => {
    const t = new Drill({ tcp: { receiveBuffer: 1000, maxReceiveBuffer: 1000 } });
    t.established();
    t.inject('. 1:1401(1400) ack 1').expect('. 1:1(0) ack 1001 win 0');
    expect(t.connection.readable).toBe(1000);
  });

  test('RFC 9293 §3.8.6.2.2: the edge of the window moves in sensible steps', () => {
    const t = new Drill({ tcp: { receiveBuffer: 4000, maxReceiveBuffer: 4000 } });
    t.established();
    t.inject('. 1:1401(1400) ack 1', '. 1401:2801(1400) ack 1', '. 2801:4001(1200) ack 1').expect('. 1:1(0) ack 4001 win 0');
    t.act((c) => c.read(new Uint8Array(1000)));
    t.silence();
    t.act((c) => c.read(new Uint8Array(460)));
    t.expect('. 1:1(0) ack 4001 win 1460');
  });

  test('RFC 9293 §3.10.7.4, first: a probe of our closed window is answered', () => {
    const t = new Drill({ tcp: { receiveBuffer: 1000, maxReceiveBuffer: 1000 } });
    t.established();
    t.inject('. 1:1001(1000) ack 1').expect('. 1:1(0) ack 1001 win 0');
    t.inject('. 1001:1002(1) ack 1').expect('. 1:1(0) ack 1001 win 0');
    expect(t.connection.readable).toBe(1000);
  });

  test('RFC 9293 §3.10.7.4, first: with a closed window acknowledgments still count', () => {
    const t = new Drill({ tcp: { receiveBuffer: 1000, maxReceiveBuffer: 1000 } });
    t.established();
    t.write(50);
    t.sent();
    t.inject('. 1:1001(1000) ack 1', '. 1001:1002(1) ack 51').sent();
    expect(t.connection.unacknowledged).toBe(0);
  });

  test('the right edge of the window never moves back', () => {
    const t = new Drill({ tcp: { receiveBuffer: 8000, maxReceiveBuffer: 8000 } });
    t.established();
    let edge = 0;
    for (let at = 1; at < 8000; at += 1000) {
      t.inject(`. ${at}:${at + 1000}(1000) ack 1`);
      for (const line of t.sent()) {
        const [, ack, window] = /ack (\d+) win (\d+)/.exec(line)!;
        expect(Number(ack) + Number(window)).toBeGreaterThanOrEqual(edge);
        edge = Number(ack) + Number(window);
      }
    }
    expect(edge).toBe(8001);
  });

  test('the receive buffer grows while the application keeps up, and no further than allowed', () => {
    const t = new Drill({ tcp: { receiveBuffer: 65536, maxReceiveBuffer: 1 << 20 } });
    t.established({ options: 'wscale 7' });
    let at = 1;
    for (let round = 0; round < 60; round++) {
      const window = t.connection.info.receiveWindow;
      for (let sent = 0; sent + 1460 <= window; sent += 1460) {
        t.inject(`. ${at}:${at + 1460}(1460) ack 1`);
        at += 1460;
      }
      t.read();
      t.sent();
      t.elapse(50);
    }
    expect(t.connection.info.receiveBuffer).toBe(1 << 20);
  });

  test('what is read in a round trip makes room for four times as much: a sender that starts doubles, and holes wait to be filled', () => {
    const t = new Drill({ tcp: { receiveBuffer: 65536, maxReceiveBuffer: 1 << 20 } });
    t.established({ options: 'wscale 7' });
    t.elapse(200);
    for (let at = 1; at < 29_200; at += 1460) t.inject(`. ${at}:${at + 1460}(1460) ack 1`);
    expect(t.read()).toBe(29_200);
    expect(t.connection.info.receiveBuffer).toBe(4 * 29_200);
  });

  test('RFC 6093 §6: urgent data stays in the stream', () => {
    const t = new Drill();
    t.established();
    t.inject('U. 1:11(10) ack 1');
    expect(t.read()).toBe(10);
  });

  test('buffers give their memory back when they are empty', () => {
    const t = new Drill();
    t.established();
    t.write(100_000);
    t.inject('. 1:1461(1460) ack 1');
    expect(t.stack.bufferMemory).toBeGreaterThan(100_000);
    t.read();
    for (let i = 0; i < 40; i++) {
      const acked = Math.max(...t.sent().map((line) => Number(/:(\d+)\(/.exec(line)![1])));
      if (Number.isFinite(acked)) t.inject(`. 1461:1461(0) ack ${acked}`);
    }
    expect(t.connection.unacknowledged).toBe(0);
    expect(t.stack.bufferMemory).toBe(0);
  });
});

describe('keep-alive (RFC 9293 §3.8.4)', () => {
  const tcp = { keepAliveInterval: 1000, keepAliveProbes: 3 };

  test('MUST-25: off unless asked for', () => {
    const t = new Drill({ tcp });
    t.established();
    t.silence(10_000_000);
  });

  test('silence is probed; an answer starts the wait anew', () => {
    const t = new Drill({ tcp });
    t.established();
    t.act((c) => c.setKeepAlive(true, 5000));
    t.silence(4999).expectAfter(1, '. 0:0(0) ack 1');
    t.inject('. 1:1(0) ack 1').silence(4900).expectAfter(100, '. 0:0(0) ack 1');
  });

  test('no answer to any probe: ETIMEDOUT', () => {
    const t = new Drill({ tcp });
    t.established();
    t.act((c) => c.setKeepAlive(true, 5000));
    t.elapse(5000).expect('. 0:0(0) ack 1').elapse(1000).expect('. 0:0(0) ack 1').elapse(1000).expect('. 0:0(0) ack 1');
    expect(t.connection.state).toBe('ESTABLISHED');
    t.elapse(1000);
    expect(t.connection.error).toBe('ETIMEDOUT');
  });

  test('traffic puts the probe off', () => {
    const t = new Drill({ tcp });
    t.established();
    t.act((c) => c.setKeepAlive(true, 5000));
    t.elapse(4000).inject('. 1:11(10) ack 1');
    t.elapse(100);
    t.sent();
    t.silence(4800).expectAfter(100, '. 0:0(0) ack 11');
  });

  test('MUST-29: a probe of the peer is answered', () => {
    const t = new Drill();
    t.established();
    t.inject('. 0:0(0) ack 1').expect('. 1:1(0) ack 1');
    t.inject('. 0:1(1) ack 1').expect('. 1:1(0) ack 1');
  });
});

test('RFC 9293 §3.8.3: nothing is acknowledged for the user timeout: ETIMEDOUT', () => {
  const t = new Drill({ tcp: { userTimeout: 100_000 } });
  t.established();
  t.write(10);
  t.elapse(99_000);
  expect(t.connection.state).toBe('ESTABLISHED');
  t.elapse(60_000);
  expect(t.connection.state).toBe('CLOSED');
  expect(t.connection.error).toBe('ETIMEDOUT');
  expect(t.stack.nextDeadline()).toBeUndefined();
});

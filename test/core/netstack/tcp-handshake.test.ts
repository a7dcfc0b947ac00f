import { describe, expect, test } from 'vitest';
import { Ready } from '../../../src/core/netstack/index.ts';
import { Drill, type DrillOptions } from './support/drill.ts';

const both: readonly DrillOptions[] = [{ version: 4 }, { version: 6 }];

describe('active open', () => {
  test.each(both)('RFC 9293 §3.5: three segments, the options of RFC 7323 and 2018 ($version)', ({ version }) => {
    const t = new Drill({ version: version!, tcp: { timestamps: true, maxReceiveBuffer: 4 << 20 } });
    const connection = t.connect();
    expect(connection.state).toBe('SYN-SENT');
    t.expect(`S 0:0(0) win 65535 <mss ${version === 4 ? 1460 : 1440},ts,sackOK,wscale 7>`);
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1400,ts 77 0,sackOK,wscale 8>');
    expect(connection.state).toBe('ESTABLISHED');
    expect(connection.takeEvents() & Ready.CONNECTED).toBe(Ready.CONNECTED);
    t.expect('. 1:1(0) ack 1 win 2048 <ts>').silence();
  });

  test('RFC 7323 §1.3, RFC 2018 §2: what the peer did not offer is not used', () => {
    const t = new Drill({ tcp: { timestamps: true } });
    t.connect();
    t.inject('S. 0:0(0) ack 1 win 1000 <mss 1000>').sent();
    t.write(3000);
    t.expect('. 1:1001(1000) ack 1 win 65535').silence();
    t.inject('. 100:200(100) ack 1001 win 1000').expect('. 1001:2001(1000) ack 1 win 65535').expect('. 2001:2001(0) ack 1 win 65535');
  });

  test.each([
    { version: 4, mss: 536 },
    { version: 6, mss: 1220 },
  ] as const)('RFC 9293 §3.7.1: a peer without the MSS option gets $mss octets (IPv$version)', ({ version, mss }) => {
    const t = new Drill({ version });
    t.connect();
    t.inject('S. 0:0(0) ack 1 win 65535').sent();
    t.write(2 * mss);
    t.expect(`. 1:${1 + mss}(${mss}) ack 1`);
  });

  test('RFC 6691 §2: timestamps are taken out of the segment, not out of the MSS', () => {
    const t = new Drill({ tcp: { timestamps: true } });
    t.connect();
    t.expect('S 0:0(0) win 65535 <mss 1460,ts,sackOK,wscale 9>');
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1460,ts 5 0>').sent();
    t.peerClock = 5;
    t.write(3000);
    t.expect('. 1:1449(1448) ack 1', '. 1449:2897(1448) ack 1');
  });

  test('RFC 7323 §2.3: a shift above 14 counts as 14', () => {
    const t = new Drill({ tcp: { maxSendBuffer: 64 << 20, sendBuffer: 64 << 20 } });
    t.connect();
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1460,wscale 200>').sent();
    t.inject('. 1:1(0) ack 1 win 2');
    expect(t.connection.info.sendWindow).toBe(2 << 14);
  });

  test('RFC 7323 §2.2: the window of a SYN,ACK is not scaled', () => {
    const t = new Drill();
    t.connect();
    t.inject('S. 0:0(0) ack 1 win 300 <mss 1460,wscale 7>').sent();
    t.write(1000);
    t.expect('. 1:301(300) ack 1');
  });

  test('RFC 6298 §2, §5: the SYN is repeated after 1, 2, 4, 8 … seconds', () => {
    const t = new Drill();
    t.connect();
    t.expect('S 0:0(0)');
    for (const delay of [1000, 2000, 4000, 8000]) t.expectAfter(delay, 'S 0:0(0)');
  });

  test('RFC 9293 §3.8.3: after three minutes without answer ETIMEDOUT', () => {
    const t = new Drill();
    const connection = t.connect();
    t.elapse(179_000);
    expect(connection.state).toBe('SYN-SENT');
    t.elapse(2000);
    expect(connection.state).toBe('CLOSED');
    expect(connection.error).toBe('ETIMEDOUT');
    expect(t.stack.connectionCount).toBe(0);
    expect(t.stack.nextDeadline()).toBeUndefined();
  });

  test('RFC 6298 (5.7): a lost SYN means an RTO of 3 seconds; RFC 5681 §3.1: and a window of one segment', () => {
    const t = new Drill();
    t.connect();
    t.expect('S 0:0(0)').expectAfter(1000, 'S 0:0(0)');
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1000>').sent();
    t.write(5000);
    t.expect('. 1:1001(1000) ack 1').silence(2900);
    t.expectAfter(100, '. 1:1001(1000) ack 1');
  });

  test('RFC 9293 §3.10.7.3, second: a reset that acknowledges the SYN refuses', () => {
    const t = new Drill();
    const connection = t.connect();
    t.inject('R. 0:0(0) ack 1');
    expect(connection.state).toBe('CLOSED');
    expect(connection.error).toBe('ECONNREFUSED');
  });

  test.each(['R 0:0(0)', 'R. 0:0(0) ack 2', 'R. 0:0(0) ack 0'])(
    'RFC 9293 §3.10.7.3: a reset that proves nothing is ignored: %s',
    (reset) => {
      const t = new Drill();
      const connection = t.connect();
      t.sent();
      t.inject(reset).silence();
      expect(connection.state).toBe('SYN-SENT');
    },
  );

  test.each([0, 2, -5])('RFC 9293 §3.10.7.3, first: a segment that acknowledges %i is answered with a reset', (ack) => {
    const t = new Drill();
    const connection = t.connect();
    t.sent();
    t.inject(`S. 0:0(0) ack ${ack}`).expect(`R ${ack}:${ack}(0)`);
    expect(connection.state).toBe('SYN-SENT');
  });

  test('RFC 9293 §3.10.7.3, fifth: a segment without SYN and RST is dropped', () => {
    const t = new Drill();
    t.connect();
    t.sent();
    t.inject('. 0:0(0) ack 1').silence();
    expect(t.connection.state).toBe('SYN-SENT');
  });

  test('RFC 9293 §3.5 figure 7: both open at once', () => {
    const t = new Drill();
    const connection = t.connect();
    t.expect('S 0:0(0)');
    t.inject('S 0:0(0) win 65535 <mss 1460>');
    expect(connection.state).toBe('SYN-RECEIVED');
    t.expect('S. 0:0(0) ack 1');
    t.inject('S. 0:0(0) ack 1');
    expect(connection.state).toBe('ESTABLISHED');
    t.write(10);
    t.expect('P. 1:11(10) ack 1');
  });

  test('RFC 9293 §3.10.2: what is written before the handshake is over follows it', () => {
    const t = new Drill();
    t.connect();
    expect(t.write(500)).toBe(500);
    t.expect('S 0:0(0)').silence();
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1460>').expect('P. 1:501(500) ack 1').silence();
  });

  test('shutdown before the handshake is over: the data, then FIN', () => {
    const t = new Drill();
    const connection = t.connect();
    t.write(5);
    t.act((c) => c.shutdown());
    t.sent();
    t.inject('S. 0:0(0) ack 1 win 65535 <mss 1460>').expect('FP. 1:6(5) ack 1');
    expect(connection.state).toBe('FIN-WAIT-1');
  });

  test('RFC 6528 §3: initial numbers run with time and differ between ends', () => {
    const first = new Drill();
    first.connect();
    const later = new Drill();
    later.elapse(1000);
    later.connect();
    expect((later.iss - first.iss) | 0).toBe(250_000);
    const elsewhere = new Drill({ peerPort: 8081 });
    elsewhere.connect();
    expect(elsewhere.iss).not.toBe(first.iss);
  });
});

describe('passive open', () => {
  test.each(both)('RFC 9293 §3.5: three segments ($version)', ({ version }) => {
    const t = new Drill({ version: version! });
    const listener = t.listen();
    t.inject('S 0:0(0) win 65535 <mss 1400,sackOK,wscale 2>').expect(
      `S. 0:0(0) ack 1 win 65535 <mss ${version === 4 ? 1460 : 1440},sackOK,wscale 9>`,
    );
    expect(listener.accept()).toBeUndefined();
    t.inject('. 1:1(0) ack 1').silence();
    expect(listener.takeEvents()).toBe(Ready.ACCEPT);
    const connection = listener.accept();
    expect(connection?.state).toBe('ESTABLISHED');
    expect(connection?.remote.port).toBe(8080);
  });

  test('the listener tells once something can be accepted', () => {
    const t = new Drill();
    const listener = t.listen();
    const heard: number[] = [];
    listener.onReady = (events) => heard.push(events);
    t.inject('S 0:0(0) <mss 1400>');
    expect(heard).toEqual([]);
    t.inject('. 1:1(0) ack 1');
    expect(heard).toEqual([Ready.ACCEPT]);
  });

  test('what arrived before it was accepted is heard afterwards', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:0(0) <mss 1400>').inject('. 1:1(0) ack 1', 'FP. 1:101(100) ack 1');
    const connection = listener.accept()!;
    let heard = 0;
    connection.onReady = (events) => {
      heard |= events;
    };
    t.stack.dispatch();
    expect(heard & (Ready.CONNECTED | Ready.READABLE | Ready.ENDED)).toBe(Ready.CONNECTED | Ready.READABLE | Ready.ENDED);
    expect(connection.readable).toBe(100);
  });

  test('a copy of the SYN is answered with the same SYN,ACK', () => {
    const t = new Drill();
    t.listen();
    t.inject('S 0:0(0) <mss 1400>').expect('S. 0:0(0) ack 1');
    t.inject('S 0:0(0) <mss 1400>').expect('S. 0:0(0) ack 1').silence();
    expect(t.stack.connectionCount).toBe(1);
  });

  test('RFC 6298 §5: SYN,ACK is repeated after 1, 2, 4 … seconds, and given up', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:0(0) <mss 1400>').expect('S. 0:0(0) ack 1');
    for (const delay of [1000, 2000, 4000]) t.expectAfter(delay, 'S. 0:0(0) ack 1');
    t.elapse(100_000);
    expect(t.stack.connectionCount).toBe(0);
    expect(listener.halfOpen).toBe(0);
  });

  test('RFC 9293 §3.10.7.2: LISTEN ignores RST, resets ACK, drops what is neither', () => {
    const t = new Drill();
    t.listen();
    t.inject('R 0:0(0)').silence();
    t.inject('. 5:5(0) ack 77').expect('R 77:77(0)');
    t.inject('S. 5:5(0) ack 77').expect('R 77:77(0)');
    t.inject('P 5:9(4)').silence();
    expect(t.stack.connectionCount).toBe(0);
  });

  test('RFC 9293 §3.10.7.1: nobody listens', () => {
    const t = new Drill();
    t.inject('S 0:0(0)').expect('R. 0:0(0) ack 1 win 0');
    t.inject('P 10:15(5)').expect('R. 0:0(0) ack 15');
    t.inject('. 10:10(0) ack 3').expect('R 3:3(0)');
    t.inject('R 10:10(0)').silence();
  });

  test('RFC 9293 §3.10.7.4, second: a reset returns SYN-RECEIVED to LISTEN', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:0(0) <mss 1400>').sent();
    t.inject('R 1:1(0)').silence();
    expect(listener.halfOpen).toBe(0);
    expect(t.stack.connectionCount).toBe(0);
  });

  test('RFC 5961 §4.2: another SYN in the window is challenged, and the RST of a peer that has begun anew makes room for it', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:0(0) <mss 1400>').sent();
    t.inject('S 100:100(0)').expect('. 1:1(0) ack 1');
    expect(listener.halfOpen).toBe(1);
    t.inject('R 1:1(0)').inject('S 100:100(0)').expect('S. 0:0(0) ack 101');
    expect(listener.halfOpen).toBe(1);
  });

  test.each([0, 2, 5000])('RFC 9293 §3.10.7.4, fifth: an acknowledgment of %i in SYN-RECEIVED is reset', (ack) => {
    const t = new Drill();
    t.listen();
    t.inject('S 0:0(0) <mss 1400>').sent();
    t.inject(`. 1:1(0) ack ${ack}`).expect(`R ${ack}:${ack}(0)`);
  });

  test('text on a SYN is not taken; the peer sends it again', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:5(5) <mss 1400>').expect('S. 0:0(0) ack 1');
    t.inject('. 1:6(5) ack 1');
    expect(listener.accept()?.readable).toBe(5);
  });

  test('a full backlog drops SYNs until somebody accepts', () => {
    const t = new Drill();
    const listener = t.listen(1);
    t.inject('S 0:0(0) <mss 1400>').inject('. 1:1(0) ack 1').sent();
    t.inject('S 0:0(0) <mss 1400>');
    const other = new Drill({ peerPort: 9999 });
    t.receive(other.build('S 0:0(0) <mss 1400>')).sent();
    expect(t.stack.counters.tcpBacklogFull).toBe(1);
    expect(listener.accept()).toBeDefined();
    t.receive(other.build('S 0:0(0) <mss 1400>')).expect('S. 0:0(0) ack 1');
  });

  test('a listener that closes resets what nobody accepted', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:0(0) <mss 1400>').inject('. 1:1(0) ack 1').sent();
    listener.close();
    t.inject().expect('R 1:1(0)');
    t.inject('S 0:0(0)').expect('R. 0:0(0) ack 1');
    expect(t.stack.connectionCount).toBe(0);
  });

  test('the window in the final ACK of the handshake is scaled', () => {
    const t = new Drill();
    const listener = t.listen();
    t.inject('S 0:0(0) win 100 <mss 1400,wscale 4>').inject('. 1:1(0) ack 1 win 100');
    expect(listener.accept()?.info.sendWindow).toBe(1600);
  });
});

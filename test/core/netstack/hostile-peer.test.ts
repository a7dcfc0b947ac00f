import { describe, expect, test } from 'vitest';
import type { TcpConnection } from '../../../src/core/netstack/index.ts';
import { getU16 } from '../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Drill } from './support/drill.ts';

/** What the application gets of the stream, as letters. */
function letters(drill: Drill): string {
  return drill.act((connection) => new TextDecoder().decode(connection.readChunk()));
}

/** A segment whose text is one letter again and again. */
function say(drill: Drill, letter: string, segment: string): void {
  drill.fill = letter.charCodeAt(0);
  drill.inject(segment);
}

describe('segments that overlap with different text: what came first counts', () => {
  test('text in order runs over what is held', () => {
    const t = new Drill();
    t.established({ options: 'sackOK' });
    say(t, 'a', '. 5:8(3) ack 1');
    say(t, 'b', '. 11:13(2) ack 1');
    say(t, 'c', '. 1:15(14) ack 1');
    expect(letters(t)).toBe('ccccaaacccbbcc');
  });

  test('text out of order runs over what is held', () => {
    const t = new Drill();
    t.established({ options: 'sackOK' });
    say(t, 'a', '. 5:8(3) ack 1');
    say(t, 'b', '. 6:10(4) ack 1');
    say(t, 'c', '. 3:12(9) ack 1');
    say(t, 'd', '. 1:3(2) ack 1');
    expect(letters(t)).toBe('ddccaaabbcc');
  });

  test('text that was acknowledged, and waits to be read, stays as it is', () => {
    const t = new Drill();
    t.established();
    say(t, 'a', 'P. 1:6(5) ack 1');
    say(t, 'b', 'P. 1:9(8) ack 1');
    expect(letters(t)).toBe('aaaaabbb');
  });
});

describe('memory', () => {
  test('RFC 2018 §8: what found no room is not SACKed and not read, and comes again', () => {
    const t = new Drill({ tcp: { memory: 4 * 16_384 } });
    t.established({ options: 'sackOK' });
    // Two blocks may be held behind a hole; the third segment lies in a third one.
    t.inject('. 1001:1002(1) ack 1', '. 20001:20002(1) ack 1');
    t.sent();
    t.inject('. 40001:40002(1) ack 1');
    t.expect('. 1:1(0) ack 1 win 65535 <sack 20001:20002,sack 1001:1002>');
    t.inject('. 1:1001(1000) ack 1', '. 1002:20001(18999) ack 1', '. 20002:40002(20000) ack 1');
    expect(t.read()).toBe(40_001);
    expect(t.stack.bufferMemory).toBe(0);
  });

  test('a peer that leaves holes, and one that reads nothing, leave room for text in order', () => {
    const t = new Drill({ tcp: { memory: 64 * 16_384 } });
    t.established({ options: 'sackOK' });
    for (let at = 101; at < 60_000; at += 700) t.inject(`. ${at}:${at + 1}(1) ack 1`);
    const others = Array.from({ length: 8 }, (_, i) => {
      const other = t.stack.connect({ ip: '10.1.0.2', port: 9000 + i }, t.now);
      other.write(new Uint8Array(1 << 20));
      return other;
    });
    expect(others.every((other) => other.unacknowledged > 0)).toBe(true);
    expect(t.stack.bufferMemory).toBeLessThanOrEqual(57 * 16_384);
    t.inject('P. 1:101(100) ack 1');
    expect(t.read()).toBe(101);
  });
});

describe('RFC 4987 §3.4: a flood of SYNs', () => {
  const syn = (peerPort: number): Uint8Array => new Drill({ peerPort }).build('S 0:0(0) win 65535 <mss 1460>');

  test('an honest handshake that is repeated gets through', () => {
    const t = new Drill({ peerPort: 50_000 });
    t.listen(8);
    const random = new SeededRandom('flood');
    let port = 1;
    let accepted: TcpConnection | undefined;
    for (let tenths = 0; tenths < 200 && accepted === undefined; tenths++) {
      for (let more = random.between(0, 2); more > 0; more--) t.receive(syn(port++));
      // RFC 6298 (5.5): the honest peer comes when every place is taken, and repeats its SYN.
      if ([9, 19, 39, 79, 159].includes(tenths)) t.inject('S 0:0(0) win 65535 <mss 1460>');
      // Port of the peer behind the IP header and our own port.
      const answer = t.sentPackets().find((packet) => getU16(packet, 22) === 50_000);
      t.elapse(50);
      if (answer !== undefined) {
        t.describe(answer);
        t.inject('. 1:1(0) ack 1');
      }
      t.elapse(50);
      accepted = t.listener!.accept();
    }
    expect(accepted?.remote.port).toBe(50_000);
    expect(t.stack.counters.tcpBacklogFull).toBeGreaterThan(0);
    expect(t.stack.connectionCount).toBeLessThanOrEqual(9);
  });

  test('a crowd of honest peers loses nothing to one another', () => {
    const t = new Drill();
    t.listen(4);
    const crowd = Array.from({ length: 10 }, (_, i) => new Drill({ peerPort: 60_000 + i }));
    for (const peer of crowd) t.stack.receive(peer.build('S 0:0(0) win 65535 <mss 1460>'), t.now);
    t.elapse(400);
    expect(t.stack.connectionCount).toBe(4);
    expect(t.stack.counters.tcpResetsOut).toBe(0);
  });

  test('who has answered is not thrown away', () => {
    const t = new Drill();
    t.listen(2);
    t.inject('S 0:0(0) win 65535 <mss 1460>');
    t.sent();
    t.inject('. 1:1(0) ack 1');
    t.elapse(5000);
    for (let port = 1; port < 50; port++) t.receive(syn(port)).elapse(500);
    t.connection = t.listener!.accept()!;
    expect(t.connection.state).toBe('ESTABLISHED');
  });
});

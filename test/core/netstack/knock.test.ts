import { describe, expect, test } from 'vitest';
import { type EchoRequest, type Knock, Ready, Stack } from '../../../src/core/netstack/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Drill } from './support/drill.ts';
import { describePacket, echoRequest } from './support/packets.ts';

/** A listener that asks, and a SYN that waits for the word. */
function knocked(version: 4 | 6 = 4): { t: Drill; knock: Knock; listener: ReturnType<Stack['listen']> } {
  const t = new Drill({ version });
  const listener = t.stack.listen({ port: 80, asks: true });
  t.inject('S 0:0(0) win 65535 <mss 1400>').silence(1000);
  expect(listener.takeEvents()).toBe(Ready.KNOCK);
  return { t, knock: listener.nextKnock()!, listener };
}

describe('a SYN to a listener that asks', () => {
  test('is answered once it is let in, and becomes a connection', () => {
    const { t, knock, listener } = knocked();
    expect([knock.local.port, knock.remote.port, knock.gone, listener.nextKnock()]).toEqual([80, 8080, false, undefined]);
    t.inject('S 0:0(0) win 65535 <mss 1400>').silence(500);
    expect(listener.nextKnock()).toBeUndefined();
    t.act(() => knock.admit());
    t.expect('S. 0:0(0) ack 1 win 65535 <mss 1460>');
    t.inject('. 1:1(0) ack 1').silence();
    expect(listener.accept()).toBe(knock.connection);
  });

  test.each([4, 6] as const)('is refused by a reset (IPv%i)', (version) => {
    const { t, knock } = knocked(version);
    t.act(() => knock.refuse('ECONNREFUSED'));
    t.expect('R. 0:0(0) ack 1').silence(60_000);
    expect([knock.gone, t.stack.connectionCount]).toEqual([true, 0]);
    t.act(() => knock.admit());
    t.silence();
  });

  test.each([
    [4, 'EHOSTUNREACH', 'icmp 3/1'],
    [4, 'ENETUNREACH', 'icmp 3/0'],
    [4, 'EACCES', 'icmp 3/13'],
    [6, 'EHOSTUNREACH', 'icmp 1/3'],
    [6, 'ENETUNREACH', 'icmp 1/0'],
    [6, 'EACCES', 'icmp 1/1'],
  ] as const)('IPv%i, %s: hears it from ICMP, which quotes it', (version, code, words) => {
    const { t, knock } = knocked(version);
    t.act(() => knock.refuse(code));
    const [packet, ...more] = t.sentPackets();
    expect(more).toEqual([]);
    const at = version === 4 ? 20 : 40;
    expect(`icmp ${packet![at]}/${packet![at + 1]}`).toBe(words);
    // behind ICMP's eight octets: the header that was quoted, then ports and number
    const quoted = packet!.subarray(at + 8 + at);
    const view = new DataView(quoted.buffer, quoted.byteOffset);
    expect([view.getUint16(0), view.getUint16(2), view.getInt32(4)]).toEqual([8080, 80, t.peerIss]);
    expect(t.stack.connectionCount).toBe(0);
  });

  test('hears nothing where nobody answered, and may come again', () => {
    const { t, knock, listener } = knocked();
    t.act(() => knock.refuse('ETIMEDOUT'));
    t.silence(1000);
    t.inject('S 0:0(0) win 65535 <mss 1400>').silence();
    expect(listener.nextKnock()?.gone).toBe(false);
  });

  test('that is taken back is gone', () => {
    const { t, knock } = knocked();
    t.inject('R 1:1(0)').silence();
    expect(knock.gone).toBe(true);
    t.act(() => knock.refuse('ECONNREFUSED'));
    t.silence();
  });

  test('counts towards the backlog while it waits', () => {
    const t = new Drill();
    t.stack.listen({ port: 80, asks: true, backlog: 1 });
    t.inject('S 0:0(0)');
    const other = new Drill({ peerPort: 9 });
    t.receive(other.build('S 0:0(0)')).silence();
    expect(t.stack.counters.tcpBacklogFull).toBe(1);
  });
});

test('an echo request to a host that is only passed off as present is for somebody else to answer', () => {
  const random = new SeededRandom('echo');
  const stack = new Stack({ addresses: ['10.0.0.1'], mtu: 1400, random: { secret: (length) => random.bytes(length) }, promiscuous: true });
  const heard: EchoRequest[] = [];
  stack.onEcho = (request) => heard.push(request);
  const data = Uint8Array.of(1, 2, 3);
  const to = (destination: string) => echoRequest({ from: '10.66.0.2', to: destination }, 7, data);
  stack.receive(to('10.0.0.1'), 0);
  expect(describePacket(stack.poll(0)!)).toContain('10.0.0.1');
  stack.receive(to('10.20.0.5'), 0);
  expect(stack.poll(0)).toBeUndefined();
  expect(heard).toMatchObject([{ from: '10.66.0.2', to: '10.20.0.5', data }]);
  stack.answerEcho(heard[0]!);
  const answer = stack.poll(0)!;
  expect([...answer.subarray(12, 22)]).toEqual([10, 20, 0, 5, 10, 66, 0, 2, 0, 0]);
  expect([...answer.subarray(24, 26), ...answer.subarray(28)]).toEqual([...to('10.20.0.5').subarray(24, 26), 1, 2, 3]);
});

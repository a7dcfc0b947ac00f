import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/core/bytes/index.ts';
import { type Net, type Pair, type PairOptions, type Peer, pair } from '../../src/testing/index.ts';

const [A1, A2, B1] = ['192.0.2.1', '192.0.2.2', '198.51.100.2'] as const;
const AUTO = { transport: 'auto' as const };

/** Nothing of UDP and of bare ESP passes any more. @returns how to let it pass again */
const blockUdp = (net: Net): (() => void) => net.internet.core.intercept(({ protocol }) => (protocol === 'tcp' ? undefined : []));

/** `a` dials `b`; liveness checks every 10 s. */
function dialled(options: PairOptions = {}, before?: (net: Net) => void): Pair {
  const made = pair({
    ...options,
    connection: { ...AUTO, mobike: true, liveness: { delay: 10_000 }, ...options.connection },
    a: { ...options.a, connection: { localAddresses: [options.nat ? '10.0.0.5' : A1, '%any'], ...options.a?.connection } },
    b: { ...options.b, connection: { localAddresses: ['%any'], ...options.b?.connection } },
  });
  const { net, a, b } = made;
  before?.(net);
  a.initiate();
  net.until('establishment', () => a.plane.children.length > 0 && b.plane.children.length > 0 && a.openAsks + b.openAsks === 0);
  return made;
}

const transports = (...peers: readonly Peer[]) =>
  peers.map(({ established }) => established.map(({ transport = 'udp' }) => transport).join());

/** ESP passes both ways, with the path that both ends hold. */
function expectTraffic({ net, a, b }: Pair, text = `at ${net.now}`): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    expect(from.sendTraffic(utf8(`${from.name} ${text}`))).toBe(true);
    net.run(500);
    expect(new TextDecoder().decode(to.plane.received.at(-1)?.payload)).toBe(`${from.name} ${text}`);
  }
}

describe('TCP encapsulation (RFC 9329): establishment', () => {
  test('UDP is asked first and is enough where it is answered', () => {
    const { net, a, b } = dialled();
    expect(net.now).toBeLessThan(1000);
    net.run(60_000);
    expect(transports(a, b)).toEqual(['udp', 'udp']);
    expect(a.heard('trying-tcp')).toEqual([]);
    expect([a.tcp.streams.length, b.tcp.streams.length]).toEqual([0, 0]);
  });

  test('§5.1: UDP blocked from the start: copies over UDP, then a new IKE_SA_INIT with a new SPI over TCP', () => {
    const world = dialled({}, blockUdp);
    const { net, a, b } = world;
    expect(transports(a, b)).toEqual(['tcp', 'tcp']);
    expect(net.now).toBeLessThan(6000);
    const [first, second] = net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'));
    expect(first!.retransmissions).toBeGreaterThanOrEqual(1);
    expect(first!.datagrams[0]!.subarray(0, 8)).not.toEqual(second!.datagrams[0]!.subarray(0, 8));
    expect(a.heard('trying-tcp')).toMatchObject([{ remote: { ip: '198.51.100.2', port: 4500 } }]);
    expect(a.heard('transport-chosen')).toMatchObject([{ transport: 'tcp' }]);
    expect(a.established).toMatchObject([{ transport: 'tcp', transportReason: 'UDP got no answer' }]);
    expect(a.ikeSas.length).toBe(1);
    expectTraffic(world);
  });

  // some firewalls know IKE by port 500 alone
  test('§5.1: UDP 500 passes and 4500 does not: IKE_SA_INIT is answered, IKE_AUTH is not, and all begins anew over TCP', () => {
    const world = dialled({}, (net) =>
      net.internet.core.intercept(({ protocol, destination }) => (protocol === 'udp' && destination.port === 4500 ? [] : undefined)),
    );
    const { net, a, b } = world;
    expect(transports(a, b)).toEqual(['tcp', 'tcp']);
    expect(a.heard('trying-tcp')).toHaveLength(1);
    expect(a.heard('transport-chosen')).toMatchObject([{ transport: 'tcp', failure: expect.stringContaining('did not answer IKE_AUTH') }]);
    expect(a.heard('failed')).toEqual([]);
    net.run(100_000);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectTraffic(world);
  });

  test('UDP 500 passes, and neither 4500 nor TCP: the error names both', () => {
    const { net, a, b } = pair({ connection: { ...AUTO, mobike: true } });
    b.tcp.unlisten(4500);
    net.internet.core.intercept(({ protocol, destination }) => (protocol === 'udp' && destination.port === 4500 ? [] : undefined));
    a.initiate();
    net.run(400_000);
    expect(a.heard('failed')).toHaveLength(1);
    expect(a.heard('failed')[0]!.error.message).toMatch(
      /did not answer IKE_AUTH for \d+ s; over TCP: .*4500 does not take TCP connections/,
    );
    expect(a.ikeSas).toEqual([]);
  });

  test('transport: tcp begins over TCP at once, and never asks over UDP', () => {
    const world = dialled({ connection: { transport: 'tcp' } });
    expect(transports(world.a, world.b)).toEqual(['tcp', 'tcp']);
    expect(world.net.internet.capture.packets.filter(({ packet }) => packet.protocol === 'udp')).toEqual([]);
    expectTraffic(world);
    expect(world.a.established[0]!.transportReason).toBe('the configuration says so');
  });

  test('transport: udp at the responder takes nothing over TCP, and the initiator says what both transports said', () => {
    const { net, a, b } = pair({ a: { connection: AUTO }, b: { connection: { transport: 'udp' } } });
    blockUdp(net);
    a.initiate();
    net.run(200_000);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([0, 0]);
    expect(b.drops['no-connection-for-address']).toBeGreaterThan(0);
    expect(a.heard('failed').at(-1)!.error).toMatchObject({ code: 'PEER_SILENT' });
  });

  test('a port that refuses leaves UDP alone, which may be answered late', () => {
    const { net, a, b } = pair({ connection: AUTO });
    b.tcp.unlisten(4500);
    const open = blockUdp(net);
    a.initiate();
    net.run(10_000);
    expect(a.ikeSas).toMatchObject([{ state: 'connecting' }]);
    open();
    net.until('establishment', () => a.established.length > 0);
    expect(transports(a, b)).toEqual(['udp', 'udp']);
  });

  test('where neither answers, the error names both', () => {
    const { net, a, b } = pair({ connection: AUTO });
    b.tcp.unlisten(4500);
    blockUdp(net);
    a.initiate();
    net.run(70_000);
    const [failed] = a.heard('failed');
    expect(failed!.error.message).toMatch(/did not answer IKE_SA_INIT for \d+ s; over TCP: .*4500 does not take TCP connections/);
    expect(a.heard('failed').length).toBe(1);
    expect(a.ikeSas).toEqual([]);
  });

  test('UDP that is answered while TCP is being opened wins, and the stream goes', () => {
    const { net, a, b } = pair({ connection: AUTO, link: { delay: 300 } });
    const open = blockUdp(net);
    a.initiate();
    net.run(5010);
    expect(a.ikeSas.length).toBe(2);
    open();
    net.internet.core.intercept(({ protocol, data }) => (protocol === 'tcp' && data.length > 100 ? [] : undefined));
    net.until('establishment', () => b.established.length > 0);
    net.run(30_000);
    expect(transports(a, b)).toEqual(['udp', 'udp']);
    expect([a.ikeSas.length, a.tcp.streams.length]).toEqual([1, 0]);
  });

  test('§6.5: no NAT is seen where there is none, although the data plane wants UDP encapsulation; behind one it is', () => {
    for (const nat of [undefined, {}]) {
      const { a, b } = dialled({ connection: { transport: 'tcp', encap: true }, ...(nat && { nat }) });
      expect([a.established[0]!.natOurs, b.established[0]!.natTheirs]).toEqual([nat !== undefined, nat !== undefined]);
    }
  });
});

describe('TCP encapsulation (RFC 9329): an IKE SA that stands', () => {
  /** Long enough for a liveness check, its copies, and a stream. */
  const TAKE_OVER = 25_000;

  test('§7.1: UDP blocked in mid-session: TCP takes over within a bounded time, the request that was under way goes out as it is', () => {
    const world = dialled();
    const { net, a, b } = world;
    net.run(1000);
    net.skip();
    blockUdp(net);
    net.until('TCP', () => transports(a, b).join() === 'tcp,tcp', TAKE_OVER);
    net.run(3000);
    expectTraffic(world);
    expect(a.heard('moved').at(-1)).toMatchObject({ why: 'UDP got no answer, TCP did' });
    const [check, update] = net.unread.filter(({ summary, from }) => from === 'a' && summary.includes('request'));
    expect(check!.retransmissions).toBeGreaterThanOrEqual(3);
    expect(update!.summary).toContain('N(UPDATE_SA_ADDRESSES)');
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expect([a.established[0]!.natOurs, b.established[0]!.natTheirs]).toEqual([false, false]);
  });

  test('§7.1: UDP is back: the IKE SA goes back to it, its stream is closed', () => {
    const world = dialled();
    const { net, a, b } = world;
    const open = blockUdp(net);
    net.until('TCP', () => transports(a, b).join() === 'tcp,tcp', TAKE_OVER);
    net.run(20_000);
    open();
    net.until('UDP', () => transports(a, b).join() === 'udp,udp', 120_000);
    net.run(20_000);
    expectTraffic(world);
    expect(a.heard('moved').at(-1)).toMatchObject({ why: 'UDP works again' });
    expect([a.tcp.streams.length, b.tcp.streams.length]).toEqual([0, 0]);
  });

  test('one that began over TCP goes to UDP when that works, and ESP is bare where no NAT asks for more', () => {
    let open = (): void => undefined;
    const world = dialled({}, (net) => {
      open = blockUdp(net);
    });
    const { net, a, b } = world;
    open();
    net.until('UDP', () => transports(a, b).join() === 'udp,udp', 60_000);
    net.run(5000);
    expectTraffic(world);
    expect([a, b].map(({ plane }) => plane.children[0]!.encap)).toEqual([false, false]);
  });

  test('§5: without MOBIKE it stays on its transport', () => {
    const world = dialled({ connection: { mobike: false, liveness: { delay: 0 } } }, blockUdp);
    const { net, a, b } = world;
    net.internet.core.intercept(() => undefined);
    net.run(300_000);
    expect(transports(a, b)).toEqual(['tcp', 'tcp']);
    expectTraffic(world);
  });

  test('§6.1: a stream that is reset is opened again by its originator, and the SAs live on', () => {
    for (const mobike of [true, false]) {
      const world = dialled({ connection: { transport: 'tcp', mobike } });
      const { net, a, b } = world;
      const [before] = a.established;
      b.tcp.streams[0]!.abort();
      net.run(2000);
      const [after] = a.established;
      expect(after).toMatchObject({ id: before!.id, transport: 'tcp' });
      expect(after!.local.port).not.toBe(before!.local.port);
      expect(b.established[0]!.remote.port).toBe(after!.local.port);
      expect(a.heard('stream').map(({ change }) => change)).toEqual(['lost', 'opened']);
      expectTraffic(world);
      expect([a.tcp.streams.length, b.tcp.streams.length]).toEqual([1, 1]);
    }
  });

  test('§6.2: a request that was under way goes out again over the new stream, and only there', () => {
    const world = dialled({ connection: { transport: 'tcp' } });
    const { net, a, b } = world;
    net.skip();
    const swallow = net.internet.core.intercept(({ protocol, source }) => (protocol === 'tcp' && source.ip === A1 ? [] : undefined));
    a.rekeyChild();
    net.run(3000);
    expect(net.unread[0]!.retransmissions).toBe(0);
    swallow();
    a.tcp.abortAll();
    net.run(5000);
    expect(net.unread[0]!.retransmissions).toBe(1);
    expect([a.heard('child-rekeyed').length, b.heard('child-rekeyed').length]).toEqual([1, 1]);
    expectTraffic(world);
  });

  test('§6.1: a stream that swallows everything is replaced, and the peer follows to the new one', () => {
    const world = dialled({ connection: { transport: 'tcp' } });
    const { net, a, b } = world;
    const { port } = a.established[0]!.local;
    // as a NAT does that has forgotten one mapping
    net.internet.core.intercept(({ protocol, source, destination }) =>
      protocol === 'tcp' && (source.port === port || destination.port === port) ? [] : undefined,
    );
    net.run(40_000);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expect(b.established[0]!.remote.port).not.toBe(port);
    expectTraffic(world);
  });

  test('§6.1: authentic ESP on a new stream is enough for the responder to follow', () => {
    const world = dialled({ connection: { transport: 'tcp', mobike: false, liveness: { delay: 0 } } });
    const { net, a, b } = world;
    b.tcp.streams[0]!.abort();
    // nothing of IKE over the new one for a while
    net.until('a new stream', () => a.heard('stream').some(({ change }) => change === 'opened'));
    expect(a.sendTraffic(utf8('here'))).toBe(true);
    net.run(1000);
    expect(b.established[0]!.remote.port).toBe(a.established[0]!.local.port);
    expectTraffic(world);
  });

  test('both ends rekey, the one that was called as well: the IKE SA that follows is on the same stream', () => {
    const world = dialled({ connection: { transport: 'tcp' } });
    const { net, a, b } = world;
    for (const peer of [a, b, a]) {
      peer.rekeyIke(peer.established.find(({ state }) => state === 'established')!.id);
      net.run(5000);
    }
    expectTraffic(world);
    expect([a.tcp.streams.length, b.tcp.streams.length]).toEqual([1, 1]);
    // §1.2: the originator stays the one that began
    b.tcp.streams[0]!.abort();
    net.run(5000);
    expectTraffic(world);
  });

  test('§6.1: the originator closes its stream with the last SA; one that it forgets is closed by the peer', () => {
    const world = dialled({ connection: { transport: 'tcp' } });
    const { net, a, b } = world;
    a.deleteIke();
    net.run(2000);
    expect([a.tcp.streams.length, b.tcp.streams.length]).toEqual([0, 0]);
    const again = dialled({ connection: { transport: 'tcp', liveness: { delay: 0 } } });
    again.b.forgetIke();
    again.net.run(15_000);
    expect(again.a.heard('stream')[0]).toMatchObject({ change: 'lost' });
    // nobody knows its SPIs any more: it asks on a new stream, is not answered, and ends
    again.net.run(90_000);
    expect([again.a.ikeSas, again.a.tcp.streams, again.b.tcp.streams]).toEqual([[], [], []]);
  });

  test('roaming (§7.1): the update goes out over UDP first; blocked there, it goes over TCP, with the same Message ID', () => {
    const world = dialled();
    const { net, a, b } = world;
    net.run(1000);
    net.skip();
    blockUdp(net);
    a.host.removeAddress(A1);
    a.host.addAddress(A2);
    net.until('TCP', () => transports(a, b).join() === 'tcp,tcp', TAKE_OVER);
    net.run(2000);
    expect([b.established[0]!.remote.ip, a.established[0]!.local.ip]).toEqual([A2, A2]);
    const updates = net.unread.filter(({ summary }) => summary.includes('request') && summary.includes('UPDATE_SA_ADDRESSES'));
    expect(updates.length).toBe(2);
    expect(updates[0]!.retransmissions).toBeGreaterThanOrEqual(2);
    expectTraffic(world);
  });

  test('transport: tcp roams as well: a stream from the new address', () => {
    const world = dialled({ connection: { transport: 'tcp' } });
    const { net, a, b } = world;
    net.run(1000);
    a.host.addAddress(A2);
    a.host.removeAddress(A1);
    net.run(5000);
    expect(b.established[0]!.remote.ip).toBe(A2);
    expectTraffic(world);
  });

  test('§7.5: a message that UDP would need fragments for goes whole', () => {
    const { net } = dialled({ connection: { transport: 'tcp', fragmentSize: 576 }, a: { identity: { certificateOctets: 4000 } } });
    const auth = net.transcript.messages.find(({ summary }) => summary.startsWith('IKE_AUTH request'))!;
    expect(auth.datagrams.length).toBe(1);
    expect(auth.datagrams[0]!.length).toBeGreaterThan(4000);
  });

  test('§6.6, §6.7: no keepalives of a NAT, and liveness by IKE alone', () => {
    const { net, a, b } = dialled({ connection: { transport: 'tcp' }, nat: {} });
    net.run(120_000);
    expect(a.established[0]!.natOurs).toBe(true);
    expect(a.heard('exchange').filter(({ summary }) => summary === '').length).toBeGreaterThan(5);
    expect(transports(a, b)).toEqual(['tcp', 'tcp']);
  });

  test('a restart of either end with what it knew: the originator opens a stream, the responder waits for it', () => {
    for (const who of ['a', 'b'] as const) {
      const world = dialled({ connection: { transport: 'tcp' } });
      const { net, a, b } = world;
      net.run(1000);
      world[who].restart('snapshot');
      net.run(40_000);
      expect(transports(a, b)).toEqual(['tcp', 'tcp']);
      expectTraffic(world);
    }
  });

  test('a connection that ended comes back with UDP first', () => {
    const world = dialled({ child: { dpdAction: 'start' } }, blockUdp);
    const { net, a, b } = world;
    b.forgetIke();
    net.until('its end', () => a.heard('ike-down').length > 1, 200_000);
    net.skip();
    net.until('it is back', () => a.established.length === 1 && b.established.length === 1, 60_000);
    expect(net.unread[0]!.summary).toContain('IKE_SA_INIT request');
    expect(net.unread.filter(({ summary }) => summary.includes('IKE_SA_INIT request')).length).toBe(2);
    net.run(1000);
    expectTraffic(world);
    expect(B1).toBe(a.established[0]!.remote.ip);
  });
});

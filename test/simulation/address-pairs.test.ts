import { describe, expect, test } from 'vitest';
import type { Net, Pair, PairOptions } from '../../src/testing/index.ts';
import { expectInvariants, expectOneChild, expectTrafficBothWays, pair } from '../../src/testing/index.ts';
import type { Packet } from '../../src/testing/network.ts';
import { A1, A2, B1, B2, expectPath, roamers } from './roamers.ts';

/** RFC 4555 §3.1: more than one address at either end before there is an IKE SA. Nothing reaches `dead`. */
function dialled(dead: readonly string[], options: PairOptions = {}, remotes: readonly string[] = [B1, B2]): Pair {
  const made = pair({
    ...options,
    connection: { mobike: true, ...options.connection },
    a: { ...options.a, connection: { localAddresses: [A1, '%any'], remoteAddresses: remotes, ...options.a?.connection } },
    b: { ...options.b, connection: { localAddresses: ['%any'], ...options.b?.connection } },
  });
  made.b.host.addAddress(B2);
  block(made.net, dead);
  made.a.initiate();
  return made;
}

const block = (net: Net, dead: readonly string[]): (() => void) =>
  net.internet.core.intercept(({ source, destination }) => (dead.includes(destination.ip) || dead.includes(source.ip) ? [] : undefined));

const paths = ({ a, b }: Pair) =>
  [a, b].map(({ established }) => established.map(({ local, remote }) => `${local.ip} ${remote.ip}`).join());

describe('IKE_SA_INIT over several pairs of addresses (RFC 4555 §3.1)', () => {
  test('the first address of the peer is dead: the second is tried after some seconds, with another SPI', () => {
    const made = dialled([B1]);
    const { net, a, b } = made;
    net.until('the tunnel stands', () => a.plane.children.length > 0 && b.plane.children.length > 0, 12_000);
    expect(paths(made)).toEqual([`${A1} ${B2}`, `${B2} ${A1}`]);
    expect(a.heard('trying-address')).toMatchObject([{ silent: { ip: B1 }, remote: { ip: B2 } }]);
    const [first, second] = net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'));
    expect(first!.datagrams[0]!.subarray(0, 8)).not.toEqual(second!.datagrams[0]!.subarray(0, 8));
    expect(a.heard('failed')).toEqual([]);
    net.run(200_000);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('where the first address answers the second is not asked', () => {
    const made = dialled([]);
    made.net.settle({ quiet: 30_000 });
    expect(paths(made)).toEqual([`${A1} ${B1}`, `${B1} ${A1}`]);
    expect(made.a.heard('trying-address')).toEqual([]);
  });

  test('one of our own addresses leads nowhere: the other one is tried', () => {
    const made = pair({
      connection: { mobike: true },
      a: { connection: { localAddresses: [A1, '%any'] } },
      b: { connection: { localAddresses: ['%any'] } },
    });
    const { net, a, b } = made;
    a.host.addAddress(A2);
    block(net, [A1]);
    a.initiate();
    net.until('the tunnel stands', () => a.plane.children.length > 0 && b.plane.children.length > 0, 12_000);
    expect(paths(made)).toEqual([`${A2} ${B1}`, `${B1} ${A2}`]);
  });

  test.each([
    ['there is another one by then', true],
    ['there is none for a while', false],
  ])('our address goes while nobody has answered yet, and %s: it begins anew from the next one at once', (_, before) => {
    const made = pair({ connection: { mobike: true }, a: { connection: { localAddresses: [A1, '%any'] } } });
    const { net, a, b } = made;
    const undo = net.internet.core.intercept(() => []);
    a.initiate();
    net.run(3000);
    if (before) a.host.addAddress(A2);
    undo();
    a.host.removeAddress(A1);
    if (!before) {
      net.run(20_000);
      a.host.addAddress(A2);
    }
    net.until('the tunnel stands', () => a.plane.children.length > 0 && b.plane.children.length > 0, 500);
    expect(paths(made)).toEqual([`${A2} ${B1}`, `${B1} ${A2}`]);
    expect(a.heard('trying-address')).toMatchObject([{ lost: { ip: A1 }, local: { ip: A2 }, remote: { ip: B1 } }]);
    expect(a.heard('failed')).toEqual([]);
    expectTrafficBothWays(net, a, b);
  });

  test('our address goes while IKE_AUTH waits for its answer: it begins anew from the next one at once, and the peer keeps one IKE SA', () => {
    const made = pair({ connection: { mobike: true }, a: { connection: { localAddresses: [A1, '%any'] } } });
    const { net, a, b } = made;
    a.initiate();
    net.until('IKE_SA_INIT is answered', () => a.ikeSas.some(({ state }) => state === 'authenticating'));
    const undo = block(net, [A1]);
    net.run(3000);
    a.host.addAddress(A2);
    a.host.removeAddress(A1);
    net.until('the tunnel stands', () => a.plane.children.length > 0 && b.plane.children.length > 0, 500);
    undo();
    net.settle({ quiet: 60_000 });
    expect(a.heard('trying-address')).toMatchObject([{ lost: { ip: A1 }, local: { ip: A2 }, remote: { ip: B1 } }]);
    expect(a.heard('failed')).toEqual([]);
    expectPath(made, A2, B1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('our address goes while a new authentication waits for its first answer: the old IKE SA moves, and the new one comes from there', () => {
    const made = roamers({ link: { delay: 20 } });
    const { net, a, b } = made;
    a.host.removeAddress(A1);
    a.reauthenticate();
    net.run(4000);
    a.host.addAddress(A2);
    net.until('it is authenticated anew', () => a.heard('ike-reauthenticated').length === 1, 1000);
    net.settle({ quiet: 60_000 });
    expect(a.heard('failed')).toEqual([]);
    expectPath(made, A2, B1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('nobody answers anywhere: one failure, which names every address', () => {
    const { net, a } = dialled([B1, B2]);
    net.until('it is given up', () => a.heard('failed').length > 0, 400_000);
    const [failure] = a.heard('failed');
    expect(failure!.error.message).toContain(B1);
    expect(failure!.error.message).toContain(B2);
    expect(failure!.error.code).toBe('PEER_SILENT');
    expect(a.heard('failed')).toHaveLength(1);
    expect(a.ikeSas).toEqual([]);
  });

  test('an answer of the first address that comes too late changes nothing', () => {
    const made = pair({
      connection: { mobike: true },
      a: { connection: { localAddresses: [A1, '%any'], remoteAddresses: [B1, B2] } },
      b: { connection: { localAddresses: ['%any'] } },
    });
    const { net, a, b } = made;
    b.host.addAddress(B2);
    const held: Packet[] = [];
    const letGo = net.internet.core.intercept((packet) => {
      if (packet.destination.ip !== B1) return undefined;
      held.push(packet);
      return [];
    });
    a.initiate();
    net.until('the tunnel stands', () => a.plane.children.length > 0 && b.plane.children.length > 0, 30_000);
    letGo();
    expect(held.length).toBeGreaterThan(1);
    for (const { source, data } of held) b.inject(data, source);
    net.run(60_000);
    expect(a.ikeSas.map(({ state }) => state)).toEqual(['established']);
    expect(b.ikeSas.map(({ state }) => state)).toEqual(['established']);
    expectTrafficBothWays(net, a, b);
  });
});

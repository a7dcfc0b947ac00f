import { describe, test } from 'vitest';
import { equalBytes } from '../../src/core/bytes/index.ts';
import { ExchangeType } from '../../src/core/wire/index.ts';
import { expectOneChild, expectTrafficBothWays } from '../../src/testing/index.ts';
import type { Packet } from '../../src/testing/network.ts';
import { A1, A2, B1, B2, expectPath, roamers } from './roamers.ts';

/** What random walks found where addresses change while one IKE SA replaces another, each as the shortest story that shows it. */
describe('a change of address that is told on an IKE SA that is being replaced', () => {
  test('is told again on the next one, where the peer heard of another address since (RFC 4555 §3.5)', () => {
    const made = roamers({ link: { delay: 20 }, b: { connection: { mobikeReturnRoutability: false } } });
    const { net, a, b } = made;
    const { core } = net.internet;
    const { spiI } = a.ikeSas[0]!;
    const informationalOf = ({ source, data }: Packet) => source.ip === B1 && data[EXCHANGE_AT] === ExchangeType.INFORMATIONAL;
    const undo = core.intercept((packet) => (informationalOf(packet) ? [] : undefined));
    a.host.move(core, [A2]);
    net.run(50);
    b.rekeyIke();
    net.until('it is rekeyed, and its Delete lost', () => [a, b].every((peer) => peer.heard('ike-rekeyed').length === 1));
    a.host.move(core, ['192.0.2.3']);
    net.run(50);
    a.host.move(core, ['192.0.2.4']);
    undo();
    // what was told first is answered first
    const undoSecond = core.intercept((packet) =>
      informationalOf(packet) && !equalBytes(packet.data.subarray(4, 12), spiI) ? [] : undefined,
    );
    net.run(100);
    undoSecond();
    net.run(20_000);
    expectPath(made, '192.0.2.4', B1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('and gets lost with it is told on the next one: the other address of b is known when the path dies (RFC 4555 §3.6, §3.10)', () => {
    const made = roamers({ link: { delay: 20 } });
    const { net, a, b } = made;
    const { core } = net.internet;
    a.rekeyIke();
    net.run(10);
    const undo = core.intercept(({ source, data }) => (source.ip === B1 && isRequest(data) ? [] : undefined));
    b.host.addAddress(B2);
    net.until('the old one is gone', () => a.heard('ike-rekeyed').length === 1 && a.ikeSas.length === 1 && b.established.length === 1);
    undo();
    net.run(20_000);
    core.intercept(({ source, destination }) => ([source.ip, destination.ip].includes(B1) ? [] : undefined));
    a.checkLiveness(a.established.at(-1)!.id);
    net.run(40_000);
    expectPath(made, A1, B2);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });
});

/** Behind the non-ESP marker. */
const EXCHANGE_AT = 4 + 18;
const isRequest = (data: Uint8Array): boolean => data[0] === 0 && (data[4 + 19]! & 0x20) === 0;

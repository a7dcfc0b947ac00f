import { describe, expect, test } from 'vitest';
import { establishedPair, pair } from '../../src/testing/index.ts';

/** What random walks found of an IKE SA that its operator ends, each as the shortest story that shows it. */
const START = { startAction: 'start', dpdAction: 'start', closeAction: 'start' } as const;

describe('brought down by the operator', () => {
  test.each(['closes', 'falls silent'] as const)(
    'the peer begins anew, and %s: nobody here brings it back, until the operator does',
    (then) => {
      const { net, a, b } = establishedPair({ a: { child: START }, b: { connection: { remoteAddresses: ['192.0.2.1'] } } });
      a.command({ kind: 'terminate', connection: 'net' });
      net.settle();
      b.initiate();
      net.until('the peer has brought it up', () => a.children.length === 1 && b.children[0]?.state === 'installed');
      if (then === 'closes') b.deleteIke(b.established.at(-1)!.id);
      else b.forgetIke(b.established.at(-1)!.id);
      if (then === 'falls silent') a.checkLiveness(a.established.at(-1)!.id);
      net.run(200_000);
      expect([a.ikeSas, b.ikeSas], net.describe()).toEqual([[], []]);
      a.initiate();
      net.settle();
      b.deleteIke(b.established.at(-1)!.id);
      net.run(60_000);
      expect(a.children, net.describe()).toHaveLength(1);
    },
  );

  test('while the peer is silent: it stays down', () => {
    const { net, a, b } = establishedPair({ a: { child: START } });
    a.host.setLink({ cut: true });
    a.rekeyChild();
    a.command({ kind: 'terminate', connection: 'net' });
    net.run(120_000);
    a.host.setLink({ cut: false });
    net.run(120_000);
    expect(a.ikeSas).toEqual([]);
    expect(a.heard('ike-up')).toHaveLength(1);
    expect(b.heard('ike-up')).toHaveLength(1);
  });

  test('while the peer rekeys it; restarted then, and out of step with the peer, it does not come back', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 }, a: { child: START } });
    a.rekeyIke();
    b.rekeyIke();
    // the answers get lost: what the peer made stands here undecided
    const undo = net.internet.core.intercept(({ data, source }) =>
      b.host.addresses.includes(source.ip) && isAnswer(data) ? [] : undefined,
    );
    a.command({ kind: 'terminate', connection: 'net' });
    net.until('the peer has made one', () => a.ikeSas.length === 2);
    const before = a.snapshot();
    undo();
    b.host.setLink({ cut: true });
    a.restart(before);
    net.run(400_000);
    b.host.setLink({ cut: false });
    net.run(600_000);
    expect(a.ikeSas, net.describe()).toEqual([]);
    expect(net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'))).toHaveLength(1);
  });

  test('on its way out for a failure: it does not come back', () => {
    const { net, a, b } = pair({ link: { delay: 10 }, a: { child: START } });
    b.fault({ ask: 'install', outcome: 'fail' });
    a.initiate();
    net.until('it is given up', () => a.ikeSas.some(({ state }) => state === 'deleting'));
    a.host.setLink({ cut: true });
    a.command({ kind: 'terminate', connection: a.ikeSas[0]!.connection! });
    net.run(400_000);
    a.host.setLink({ cut: false });
    net.run(600_000);
    expect(a.ikeSas, net.describe()).toEqual([]);
    expect(net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'))).toHaveLength(1);
  });
});

/** Flag R of the IKE header. */
const isAnswer = (data: Uint8Array): boolean => (data[19]! & 0x20) !== 0;

import { describe, expect, test } from 'vitest';
import { formatSelector, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  espProposal,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  type Pair,
  type PairOptions,
  type Peer,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { RawInitiator } from './insider.ts';
import { notify } from './roamers.ts';

const DYNAMIC = { mode: 'transport', localTs: ['dynamic'], remoteTs: ['dynamic'] } as const;
const [INSIDE, OUTSIDE, SERVER] = ['10.0.0.5', '192.0.2.1', '198.51.100.2'];

function up(options: PairOptions = {}): Pair {
  const made = pair({ child: DYNAMIC, ...options });
  made.a.initiate();
  made.net.settle();
  return made;
}

const selectors = (peer: Peer) =>
  peer.children.map(({ mode, localTs, remoteTs }) => [mode, localTs.map(formatSelector).join(), remoteTs.map(formatSelector).join()]);
const errors = (peer: Peer) => peer.heard('failed').map(({ error }) => error.code);

describe('transport mode (RFC 7296 §1.3.1)', () => {
  test('between two hosts without a NAT: both ends name the addresses of the IKE SA', () => {
    const { net, a, b } = up();
    const auth = net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_AUTH'));
    expect(auth.every(({ summary }) => summary.includes('N(USE_TRANSPORT_MODE)'))).toBe(true);
    expect(selectors(a)).toEqual([['transport', OUTSIDE, SERVER]]);
    expect(selectors(b)).toEqual([['transport', SERVER, OUTSIDE]]);
    expect(a.plane.children[0]!.encap).toBe(false);
    expectTrafficBothWays(net, a, b);
  });

  test('wide selectors of a policy come down to the two ends, as initiator and as responder', () => {
    const everything = { mode: 'transport', localTs: [subnet('0.0.0.0/0')], remoteTs: [subnet('0.0.0.0/0')] } as const;
    const { a, b } = up({ child: everything });
    expect(selectors(a)).toEqual([['transport', OUTSIDE, SERVER]]);
    expect(selectors(b)).toEqual([['transport', SERVER, OUTSIDE]]);
  });

  test('selectors that leave an end out are no transport mode: the initiator says so before it asks', () => {
    const { a, net } = up({ a: { child: { remoteTs: [subnet('10.2.0.0/24')] } } });
    expect(errors(a)).toContain('TRANSPORT_SELECTORS');
    expect(a.heard('failed')[0]!.error.hint).toMatch(/dynamic/);
    expect(net.transcript.messages.some(({ summary }) => summary.startsWith('IKE_AUTH'))).toBe(false);
  });

  test('a responder that has the tunnel alone answers with one, and the initiator does not take it', () => {
    const { a, b } = up({ b: { child: { mode: 'tunnel' } } });
    expect(errors(a)).toContain('TRANSPORT_MODE_DECLINED');
    expect([a.children, b.children]).toEqual([[], []]);
  });

  test('asked for a tunnel, a responder makes none of it transport mode', () => {
    const { a, b } = up({ a: { child: { mode: 'tunnel' } } });
    expect([a.children[0]!.mode, b.children[0]!.mode]).toEqual(['tunnel', 'tunnel']);
  });
});

describe('transport mode behind a NAT (§2.23.1)', () => {
  test('D21 the client: each end has the addresses that it sees, in UDP, and rekeyings of both ends keep to them', () => {
    const { net, a, b } = up({ nat: {} });
    const expected = () => {
      expectOneChild(a, b);
      expect(selectors(a)).toEqual([['transport', INSIDE, SERVER]]);
      expect(selectors(b)).toEqual([['transport', SERVER, OUTSIDE]]);
      expect([a.plane.children[0]!.encap, b.plane.children[0]!.encap]).toEqual([true, true]);
      expectTrafficBothWays(net, a, b);
    };
    expected();
    for (const step of [() => a.rekeyChild(), () => b.rekeyChild(), () => b.rekeyIke(), () => a.rekeyIke(), () => b.rekeyChild()]) {
      step();
      net.settle({ quiet: 60_000 });
      expected();
    }
    expectInvariants(net);
  });

  test.each(['client', 'both'] as const)('%s, and the server behind one that forwards to it', (who) => {
    const { net, a, b } = pair({ child: DYNAMIC, ...(who === 'both' ? { nat: {} } : {}) });
    const front = '198.51.100.9';
    // a static NAT: the server has an address of its own, which nobody outside uses
    net.internet.core.intercept((packet) => {
      if (packet.destination.ip === front) return [{ ...packet, destination: { ...packet.destination, ip: SERVER } }];
      return packet.source.ip === SERVER ? [{ ...packet, source: { ...packet.source, ip: front } }] : undefined;
    });
    const own = who === 'both' ? INSIDE : OUTSIDE;
    a.setConnections([connectionPolicy({ localAddresses: [own], remoteAddresses: [front], children: [childPolicy(DYNAMIC)] })]);
    a.initiate();
    net.settle();
    expect(selectors(a)).toEqual([['transport', own, front]]);
    expect(selectors(b)).toEqual([['transport', SERVER, OUTSIDE]]);
    expectTrafficBothWays(net, a, b);
    for (const peer of [b, a]) {
      peer.rekeyChild();
      net.settle({ quiet: 60_000 });
      expect(selectors(b)).toEqual([['transport', SERVER, OUTSIDE]]);
    }
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a second client behind the same NAT is refused what is another’s traffic (RFC 3948 §5.2)', () => {
    const { net, a, b, nat } = up({ nat: {} });
    const child = childPolicy(DYNAMIC);
    const other = net.peer(
      'c',
      '10.0.0.6',
      {
        connections: [connectionPolicy({ localAddresses: ['10.0.0.6'], remoteAddresses: [SERVER], children: [child] })],
        identity: { id: fqdn('c.example') },
      },
      nat,
    );
    other.initiate();
    net.settle();
    expect(errors(b)).toContain('TRANSPORT_AMBIGUOUS');
    expect(other.children).toEqual([]);
    expect(b.children).toHaveLength(1);
    expectTrafficBothWays(net, a, b);
  });
});

describe('what a peer may not get by transport mode', () => {
  const MODE = notify(NotifyType.USE_TRANSPORT_MODE);
  const ask = (tsi: readonly string[], tsr: readonly string[], children: Parameters<typeof childPolicy>[0][] = [DYNAMIC]) => {
    const { net, b } = pair({
      b: {
        connection: {
          children: children.map((child, i) => childPolicy({ name: `c${i}`, proposals: [espProposal('aes128gcm16-noesn')], ...child })),
        },
      },
    });
    const raw = new RawInitiator(net, b, {
      localTs: tsi.map(subnet),
      remoteTs: tsr.map(subnet),
      authPayloads: (payloads) => [...payloads, MODE],
    });
    raw.init();
    const answer = raw.auth() ?? [];
    const told = answer.flatMap((p: Payload) => (p.kind === 'N' ? [p.notify] : []));
    return { b, told };
  };

  test('the traffic of somebody else, where no NAT explains it', () => {
    const { b, told } = ask(['203.0.113.99'], [SERVER]);
    expect(told).toContain(NotifyType.TS_UNACCEPTABLE);
    expect(b.children).toEqual([]);
  });

  test('networks: they come down to the two ends', () => {
    const { b, told } = ask(['0.0.0.0/0'], ['0.0.0.0/0']);
    expect(told).toContain(NotifyType.USE_TRANSPORT_MODE);
    expect(selectors(b)).toEqual([['transport', SERVER, '203.0.113.50']]);
  });

  test('what it wrote counts as it stands where only a tunnel fits: then the answer lacks the notify', () => {
    const tunnel = { mode: 'tunnel', localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] } as const;
    const { b, told } = ask(['10.1.0.9'], ['10.2.0.9'], [DYNAMIC, tunnel]);
    expect(told).not.toContain(NotifyType.USE_TRANSPORT_MODE);
    expect(selectors(b)).toEqual([['tunnel', '10.2.0.9', '10.1.0.9']]);
  });
});

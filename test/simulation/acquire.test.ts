import { describe, expect, test } from 'vitest';
import type { PacketSelectors } from '../../src/core/ike/effects.ts';
import { formatSelector } from '../../src/core/wire/index.ts';
import { childPolicy, espProposal, expectTrafficBothWays, type PairOptions, type Peer, pair, subnet } from '../../src/testing/index.ts';

const host = (ip: string, protocol = 0, port?: number) => ({
  ...subnet(ip),
  protocol,
  ...(port === undefined ? {} : { startPort: port, endPort: port }),
});
const DNS: PacketSelectors = { local: host('10.1.0.7', 17, 40_000), remote: host('10.2.0.53', 17, 53) };

function triggered(packet: PacketSelectors, options: PairOptions = {}, child = 'net') {
  const made = pair(options);
  made.a.observe({ kind: 'acquire', connection: 'net', child, packet });
  made.net.settle();
  return made;
}

const selectors = (peer: Peer) =>
  peer.children.map(({ name, localTs, remoteTs }) => [name, localTs.map(formatSelector).join(), remoteTs.map(formatSelector).join()]);
/** What `a` proposed last. */
const proposed = ({ net }: ReturnType<typeof triggered>): string[] => {
  const { text } = net.transcript.messages.filter(({ from, summary }) => from === 'a' && summary.includes('TSi')).at(-1)!;
  return [...text.slice(text.indexOf('\n')).matchAll(/TS[ir] +(.*)/g)].map(([, list]) => list!.trim());
};

describe('the packet that asks for a child stands in front (RFC 7296 §2.9)', () => {
  test('in IKE_AUTH, and whoever takes everything takes it as before', () => {
    const made = triggered(DNS);
    expect(proposed(made)[0]).toMatch(/10\.1\.0\.7\[udp\/40000\], 10\.1\.0\.0\/24/);
    expect(proposed(made)[1]).toMatch(/10\.2\.0\.53.*53.*10\.2\.0\.0\/24/);
    expect(selectors(made.a)).toEqual([['net', '10.1.0.0/24', '10.2.0.0/24']]);
    expectTrafficBothWays(made.net, made.a, made.b);
  });

  test('where the policy fills the payload already, it is left to the policy (RFC 7296 §3.13)', () => {
    const many = Array.from({ length: 255 }, (_, i) => subnet(`10.2.${i}.0/24`));
    const child = { localTs: [subnet('10.1.0.0/24')], remoteTs: many };
    const made = triggered(DNS, {
      a: { connection: { children: [childPolicy({ ...child, proposals: [espProposal('aes128gcm16-noesn')] })] } },
    });
    expect(made.a.heard('failed')).toEqual([]);
    expect(selectors(made.a)).toEqual([['net', '10.1.0.0/24', '10.2.0.0/24']]);
  });

  test('in CREATE_CHILD_SA, for that one child, and once: rekeyings are about what was agreed', () => {
    const children = ['net', 'voice'].map((name) =>
      childPolicy({
        name,
        localTs: [subnet('10.1.0.0/24')],
        remoteTs: [subnet('10.2.0.0/24')],
        proposals: [espProposal('aes128gcm16-noesn')],
      }),
    );
    const made = pair({ a: { connection: { children } } });
    const { net, a } = made;
    a.initiate('net', 'net');
    net.settle();
    a.observe({ kind: 'acquire', connection: 'net', child: 'voice', packet: DNS });
    net.settle();
    expect(proposed({ ...made })[0]).toContain('10.1.0.7');
    a.rekeyChild(a.children.at(-1)!.id);
    net.settle();
    expect(proposed({ ...made })[0]).not.toContain('10.1.0.7');
  });

  test('one that narrows keeps it: of two policies it takes the one that the packet fits', () => {
    const part = (name: string, own: string) =>
      childPolicy({ name, localTs: [subnet(own)], remoteTs: [subnet('10.1.0.0/24')], proposals: [espProposal('aes128gcm16-noesn')] });
    const b = { connection: { children: [part('low', '10.2.0.0/27'), part('high', '10.2.0.32/27')] } };
    const a = { child: { proposals: [espProposal('aes128gcm16-noesn')] } };
    expect(selectors(triggered(DNS, { a, b }).b)[0]!.slice(0, 2)).toEqual(['high', '10.2.0.32/27']);
    const low = { ...DNS, remote: host('10.2.0.5', 17, 53) };
    expect(selectors(triggered(low, { a, b }).b)[0]!.slice(0, 2)).toEqual(['low', '10.2.0.0/27']);
  });

  test('one that makes a child for each pair of addresses makes it for this one', () => {
    const made = triggered(DNS, { b: { child: { singlePair: true } } });
    expect(selectors(made.a).map(([, local, remote]) => [local!.split('[')[0], remote!.split('[')[0]])).toEqual([
      ['10.1.0.7', '10.2.0.53'],
    ]);
    expect(made.net.transcript.messages.some(({ summary }) => summary.includes('SINGLE_PAIR_REQUIRED'))).toBe(false);
  });

  test('what does not fit the policy is not told', () => {
    const made = triggered({ ...DNS, remote: host('203.0.113.9', 17, 53) });
    expect(proposed(made).join()).not.toMatch(/203\.0\.113\.9|10\.1\.0\.7/);
    expect(made.a.children).toHaveLength(1);
  });

  test('in transport mode, too, with its protocol and port', () => {
    const packet = { local: host('192.0.2.1', 6, 50_000), remote: host('198.51.100.2', 6, 443) };
    const made = triggered(packet, { child: { mode: 'transport', localTs: ['dynamic'], remoteTs: ['dynamic'] } });
    expect(proposed(made)[1]).toMatch(/198\.51\.100\.2.*443.*198\.51\.100\.2/);
    expect(made.a.children[0]!.mode).toBe('transport');
    expectTrafficBothWays(made.net, made.a, made.b);
  });
});

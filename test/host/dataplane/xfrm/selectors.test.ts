import { describe, expect, test } from 'vitest';
import { parseIp } from '../../../../src/core/bytes/index.ts';
import type { AddressRangeSelector } from '../../../../src/core/wire/payloads/types.ts';
import { matchesOf, type PolicyMatch, selectorOf } from '../../../../src/host/dataplane/xfrm/selectors.ts';
import { selector } from '../../support/packets.ts';

const HOST = selector('10.1.0.1/32');
const ts = (more: Partial<AddressRangeSelector>): AddressRangeSelector => ({ ...HOST, ...more });
const only = (local: AddressRangeSelector, remote: AddressRangeSelector): PolicyMatch => {
  const matches = matchesOf([local], [remote]);
  expect(matches).toHaveLength(1);
  return matches[0]!;
};

describe('traffic selectors as the kernel has them', () => {
  test('a range of addresses is several prefixes, and families are not mixed', () => {
    const range = ts({ start: parseIp('10.2.0.1'), end: parseIp('10.2.0.6') });
    const matches = matchesOf([HOST, selector('fd00::/64')], [range, selector('fd01::/64')]);
    expect(matches.map(({ local, remote }) => [local, remote])).toEqual([
      ['10.1.0.1/32', '10.2.0.1/32'],
      ['10.1.0.1/32', '10.2.0.2/31'],
      ['10.1.0.1/32', '10.2.0.4/31'],
      ['10.1.0.1/32', '10.2.0.6/32'],
      ['fd00::/64', 'fd01::/64'],
    ]);
  });

  test.each([
    [0, 65_535],
    [443, 443],
    [1, 65_535],
    [1024, 65_535],
    [5000, 5009],
  ])('ports %i to %i are matched one by one, and no others', (startPort, endPort) => {
    const matches = matchesOf([ts({ protocol: 6 })], [ts({ protocol: 6, startPort, endPort })]);
    for (let port = 0; port < 65_536; port++) {
      const fitting = matches.filter(({ remotePort: match }) => match === undefined || (port & (match.mask ?? 0xffff)) === match.port);
      if (fitting.length !== (port >= startPort && port <= endPort ? 1 : 0)) expect.fail(`port ${port}: ${fitting.length} policies`);
    }
  });

  test('each direction has its side where it belongs', () => {
    const match = only(
      ts({ protocol: 6 }),
      ts({ start: parseIp('10.2.0.0'), end: parseIp('10.2.0.255'), protocol: 6, startPort: 22, endPort: 22 }),
    );
    expect(selectorOf(match, 'out')).toMatchObject({ source: '10.1.0.1/32', destination: '10.2.0.0/24', destinationPort: { port: 22 } });
    expect(selectorOf(match, 'fwd')).toMatchObject({ source: '10.2.0.0/24', destination: '10.1.0.1/32', sourcePort: { port: 22 } });
    expect(selectorOf(match, 'fwd').destinationPort).toBeUndefined();
  });

  test('ICMP has its type and code in the same places whichever way it goes', () => {
    const echo = only(ts({ protocol: 1, startPort: 0x0800, endPort: 0x08ff }), ts({ protocol: 1 }));
    for (const direction of ['out', 'in'] as const) {
      expect(selectorOf(echo, direction).sourcePort).toEqual({ port: 8 });
      expect(selectorOf(echo, direction).destinationPort).toBeUndefined();
    }
    const some = matchesOf([ts({ protocol: 1, startPort: 0x0301, endPort: 0x0500 })], [ts({ protocol: 1 })]);
    for (let message = 0; message < 65_536; message++) {
      const [type, code] = [message >> 8, message & 0xff];
      const fits = some.some(
        ({ localPort: t, remotePort: c }) =>
          (t === undefined || (type & (t.mask ?? 0xffff)) === t.port) && (c === undefined || (code & (c.mask ?? 0xffff)) === c.port),
      );
      if (fits !== (message >= 0x0301 && message <= 0x0500)) expect.fail(`type ${type} code ${code}`);
    }
  });

  test('the narrower goes first', () => {
    const breadths = [
      only(ts({ protocol: 6 }), ts({ protocol: 6, startPort: 22, endPort: 22 })),
      only(ts({ protocol: 6 }), ts({ protocol: 6 })),
      only(HOST, HOST),
      only(selector('10.0.0.0/8'), HOST),
      only(HOST, selector('10.2.0.0/24')),
      only(HOST, selector('0.0.0.0/0')),
    ].map(({ breadth }) => breadth);
    expect(breadths).toEqual([...breadths].sort((a, b) => a - b));
    expect(new Set(breadths).size).toBe(breadths.length);
  });

  test('what cannot be said is refused: other protocols on either side, OPAQUE ports, thousands of policies', () => {
    const unsupported = expect.objectContaining({ code: 'SELECTORS_UNSUPPORTED' });
    expect(() => matchesOf([ts({ protocol: 6 })], [ts({ protocol: 17 })])).toThrow(unsupported);
    expect(() => matchesOf([ts({ protocol: 6, startPort: 65_535, endPort: 0 })], [HOST])).toThrow(unsupported);
    const ragged = ts({ protocol: 6, startPort: 1, endPort: 65_534 });
    expect(() => matchesOf([ragged], [ragged])).toThrow(unsupported);
    expect(() => matchesOf([], [])).toThrow(unsupported);
  });
});

import { expect, test } from 'vitest';
import { parseIp } from '../../../src/core/bytes/index.ts';
import type { TrafficSelector } from '../../../src/core/wire/payloads/types.ts';
import { routesTo } from '../../../src/host/dataplane/tun-routes.ts';

const range = (start: string, end: string, port = 0): TrafficSelector => ({
  type: start.includes(':') ? 8 : 7,
  protocol: port === 0 ? 0 : 6,
  startPort: port,
  endPort: port === 0 ? 65535 : port,
  start: parseIp(start),
  end: parseIp(end),
});

test('a route for each network of the peer, whatever ports of it are meant', () => {
  const selectors = [range('10.2.0.0', '10.2.0.255'), range('10.3.0.1', '10.3.0.1', 80), range('10.3.0.1', '10.3.0.1', 443)];
  expect(routesTo([...selectors, range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')])).toEqual(['10.2.0.0/24', '10.3.0.1/32', '::/0']);
  expect(routesTo([range('10.0.0.1', '10.0.0.6')])).toEqual(['10.0.0.1/32', '10.0.0.2/31', '10.0.0.4/31', '10.0.0.6/32']);
});

test('a peer that names too many ranges gets no CHILD_SA instead of all the routes of this machine', () => {
  const odd = (i: number): TrafficSelector => range(`2001:db8:${i}::1`, `2001:db8:${i}:ffff:ffff:ffff:ffff:fffe`);
  expect(routesTo([odd(1), odd(2), odd(3)]).length).toBeLessThanOrEqual(512);
  expect(() => routesTo([odd(1), odd(2), odd(3), odd(4)])).toThrow(expect.objectContaining({ code: 'TOO_MANY_ROUTES' }));
});

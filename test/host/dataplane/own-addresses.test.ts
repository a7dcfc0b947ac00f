import { describe, expect, test } from 'vitest';
import { formatIp } from '../../../src/core/bytes/index.ts';
import { IpView } from '../../../src/core/packet/index.ts';
import { OwnAddresses } from '../../../src/host/dataplane/own-addresses.ts';
import { childPair } from '../support/esp-pair.ts';
import { packet } from '../support/packets.ts';

function isFor(own: OwnAddresses, to: string): boolean {
  const view = new IpView();
  view.parse(packet(to.includes(':') ? 'fd00::99' : '192.0.2.99', to));
  return own.isDestination(view);
}

describe('the own inner addresses', () => {
  test('are those that were configured, prefix or not, in canonical form', () => {
    const own = new OwnAddresses(['10.66.0.1/24', 'FD5A:0::1']);
    expect(own.all).toEqual(['10.66.0.1', 'fd5a::1']);
    expect(['10.66.0.1', 'fd5a::1', '10.66.0.2', 'fd5a::2'].map((ip) => isFor(own, ip))).toEqual([true, true, false, false]);
  });

  test('grow by what a peer assigns to us', () => {
    const own = new OwnAddresses(['10.66.0.1']);
    const { a: ours } = childPair({
      localTs: ['10.66.0.5', 'fd5a::5'],
      remoteTs: ['0.0.0.0/0', '::/0'],
      more: { assigned: ['10.66.0.5', 'fd5a::5'] },
    });
    expect(own.assign(ours)).toBe(true);
    expect(own.assign(ours)).toBe(false);
    expect(own.all).toEqual(['10.66.0.1', '10.66.0.5', 'fd5a::5']);
    expect(isFor(own, 'fd5a::5')).toBe(true);
  });

  test('do not grow by what we assign to a peer', () => {
    const own = new OwnAddresses([]);
    const { b: gateway } = childPair({ localTs: ['10.66.0.5'], remoteTs: ['0.0.0.0/0'], more: { assigned: ['10.66.0.5'] } });
    expect([own.assign(gateway), own.all]).toEqual([false, []]);
  });

  test('outlive their CHILD_SA, until the same connection assigns others', () => {
    const own = new OwnAddresses([]);
    const assigned = (ip: string, connection: string) => own.assign(childPair({ localTs: [ip], more: { assigned: [ip], connection } }).a);
    assigned('10.66.0.5', 'road');
    assigned('10.77.0.5', 'office');
    expect(own.assign(childPair({ localTs: ['10.66.0.5'], more: { assigned: [] } }).a)).toBe(false); // a rekeyed child
    assigned('10.66.0.9', 'road');
    expect(own.all).toEqual(['10.66.0.9', '10.77.0.5']);
  });

  test('one of a family', () => {
    const own = new OwnAddresses(['10.66.0.1']);
    expect([formatIp(own.ofFamily(4)!), own.ofFamily(16)]).toEqual(['10.66.0.1', undefined]);
  });
});

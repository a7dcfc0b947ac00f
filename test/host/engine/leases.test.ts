import { describe, expect, test } from 'vitest';
import { ConfigError, formatIp, fromUtf8, parseIp, utf8 } from '../../../src/core/bytes/index.ts';
import type { ConfigurationAttribute, Identification } from '../../../src/core/wire/payloads/types.ts';
import { AddressPool } from '../../../src/host/engine/address-pool.ts';
import type { PoolPolicy } from '../../../src/host/engine/lease-pool.ts';
import { LeaseTable } from '../../../src/host/engine/leases.ts';

const ANY4 = { type: 1, value: new Uint8Array(0) };
const ANY6 = { type: 8, value: new Uint8Array(0) };
const who = (name: string): Identification => ({ idType: 3, data: utf8(name) });

function ask(name: string, requested: readonly ConfigurationAttribute[] = [ANY4], pools: readonly string[] = ['lan']) {
  return { kind: 'lease', connection: 'road', pools, remoteId: who(name), requested } as const;
}

const table = (policy: Partial<PoolPolicy> = {}): LeaseTable =>
  new LeaseTable([{ name: 'lan', ranges: ['10.66.0.0/29'], reserved: ['10.66.0.1'], ...policy }]);

function granted(leases: LeaseTable, ikeSa: number, name: string, requested?: readonly ConfigurationAttribute[]): readonly string[] {
  const answer = leases.lease(ikeSa, ask(name, requested));
  return answer.ok ? answer.addresses : [answer.error.code];
}

describe('a pool of addresses', () => {
  test('a prefix leaves out network, broadcast and what is reserved', () => {
    const pool = new AddressPool('10.66.0.0/29', ['10.66.0.1']);
    expect(pool.size).toBe(5);
    expect(Array.from({ length: 6 }, () => pool.take())).toEqual([
      '10.66.0.2',
      '10.66.0.3',
      '10.66.0.4',
      '10.66.0.5',
      '10.66.0.6',
      undefined,
    ]);
  });

  test.each([
    ['10.0.0.4-10.0.0.5', ['10.0.0.4', '10.0.0.5', undefined]],
    ['10.0.0.4/31', ['10.0.0.4', '10.0.0.5', undefined]],
    ['10.0.0.4', ['10.0.0.4', undefined, undefined]],
    ['10.0.0.7/32', ['10.0.0.7', undefined, undefined]],
    ['2001:db8::/126', ['2001:db8::1', '2001:db8::2', '2001:db8::3']],
    ['fd00::fffe-fd00::ffff', ['fd00::fffe', 'fd00::ffff', undefined]],
    ['255.255.255.252/30', ['255.255.255.253', '255.255.255.254', undefined]],
  ])('%s', (range, expected) => {
    const pool = new AddressPool(range);
    expect([pool.take(), pool.take(), pool.take()]).toEqual(expected);
  });

  test.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.9-10.0.0.1',
    '10.0.0.1-fd00::1',
    '10.0.0.0/24/8',
    'lan',
    'fd00::/129',
    '10.0.0.0/x',
  ])('%j is no pool', (range) => {
    expect(() => new AddressPool(range)).toThrow(ConfigError);
  });

  test('a /64 of IPv6 is endless and costs nothing', () => {
    const pool = new AddressPool('fd5a:1c9e:77::/64', ['fd5a:1c9e:77::1']);
    expect(pool.size).toBe(Number.POSITIVE_INFINITY);
    expect([pool.take(), pool.take()]).toEqual(['fd5a:1c9e:77::2', 'fd5a:1c9e:77::3']);
  });

  test('what came back is given again only when nothing fresh is left, the oldest first', () => {
    const pool = new AddressPool('10.0.0.1-10.0.0.3');
    expect([pool.take(), pool.take()]).toEqual(['10.0.0.1', '10.0.0.2']);
    pool.giveBack('10.0.0.2');
    pool.giveBack('10.0.0.1');
    expect([pool.take(), pool.take(), pool.take(), pool.take()]).toEqual(['10.0.0.3', '10.0.0.2', '10.0.0.1', undefined]);
  });

  test('giving back what was never taken changes nothing', () => {
    const pool = new AddressPool('10.0.0.1-10.0.0.1');
    for (const ip of ['10.0.0.1', '10.0.0.9', 'fd00::1', 'nonsense']) pool.giveBack(ip);
    expect([pool.taken, pool.take(), pool.take()]).toEqual([0, '10.0.0.1', undefined]);
  });

  test('one very address: only when it is there and free', () => {
    const pool = new AddressPool('10.66.0.0/29', ['10.66.0.1']);
    expect(
      ['10.66.0.3', '10.66.0.3', '10.66.0.1', '10.66.0.0', '10.66.0.7', '10.66.1.3', 'fd00::1'].map((ip) => pool.takeExactly(ip)),
    ).toEqual([true, ...Array<boolean>(6).fill(false)]);
    expect([pool.take(), pool.take()]).toEqual(['10.66.0.2', '10.66.0.4']);
  });
});

describe('leases', () => {
  test('two clients get two addresses, and nobody gets the gateway’s', () => {
    const leases = table();
    expect(granted(leases, 1, 'alice')).toEqual(['10.66.0.2']);
    expect(granted(leases, 2, 'bob')).toEqual(['10.66.0.3']);
  });

  test('one IKE SA asking twice gets the same address', () => {
    const leases = table();
    expect(granted(leases, 1, 'alice')).toEqual(granted(leases, 1, 'alice'));
  });

  test('who comes back gets the address back, though others came in between', () => {
    const leases = table();
    granted(leases, 1, 'alice');
    leases.release(1);
    expect(granted(leases, 2, 'bob')).toEqual(['10.66.0.3']);
    expect(granted(leases, 3, 'alice')).toEqual(['10.66.0.2']);
  });

  test('a second device of one identity gets an address of its own', () => {
    const leases = table();
    expect([granted(leases, 1, 'alice'), granted(leases, 2, 'alice')]).toEqual([['10.66.0.2'], ['10.66.0.3']]);
  });

  describe('a client that authenticates anew', () => {
    const again = (leases: LeaseTable, ikeSa: number, ip: string, alongside: readonly number[]): readonly string[] => {
      const answer = leases.lease(ikeSa, { ...ask('alice', [{ type: 1, value: parseIp(ip) }]), alongside });
      return answer.ok ? answer.addresses : [answer.error.code];
    };

    test('keeps the address that it asks for again; it is free when both IKE SAs are gone, in either order', () => {
      for (const order of [
        [1, 2],
        [2, 1],
      ]) {
        const leases = table({ ranges: ['10.66.0.2'], reserved: [] });
        granted(leases, 1, 'alice');
        expect(again(leases, 2, '10.66.0.2', [1])).toEqual(['10.66.0.2']);
        leases.release(order[0]!);
        expect(granted(leases, 3, 'bob')).toEqual(['POOL_EXHAUSTED']);
        leases.release(order[1]!);
        expect(granted(leases, 4, 'bob')).toEqual(['10.66.0.2']);
      }
    });

    test('thrice over, with the last one standing', () => {
      const leases = table();
      granted(leases, 1, 'alice');
      for (const ikeSa of [2, 3]) expect(again(leases, ikeSa, '10.66.0.2', [ikeSa - 1])).toEqual(['10.66.0.2']);
      for (const ikeSa of [1, 2]) leases.release(ikeSa);
      expect(granted(leases, 4, 'bob')).toEqual(['10.66.0.3']);
      leases.release(3);
      expect(leases.list().filter(({ ip }) => ip === '10.66.0.2')).toMatchObject([{ ikeSa: undefined }]);
    });

    test('does not get what another one holds, nor what it does not ask for by name', () => {
      const leases = table();
      granted(leases, 1, 'alice');
      granted(leases, 2, 'bob');
      expect(again(leases, 3, '10.66.0.3', [1])).toEqual(['10.66.0.4']);
      const any = leases.lease(4, { ...ask('alice'), alongside: [1] });
      expect(any.ok && any.addresses).toEqual(['10.66.0.5']);
    });

    test('keeps it over a restart in the middle', () => {
      const leases = table();
      leases.restore(1, who('alice'), ['10.66.0.2']);
      leases.restore(2, who('alice'), ['10.66.0.2']);
      leases.restore(3, who('bob'), ['10.66.0.2']);
      leases.release(1);
      expect(leases.list()).toMatchObject([{ ip: '10.66.0.2', ikeSa: 2 }]);
      leases.release(2);
      expect(leases.list()).toMatchObject([{ ip: '10.66.0.2', ikeSa: undefined }]);
    });
  });

  test('a client gets the very address it asks for, if nobody has it', () => {
    const leases = table();
    expect(granted(leases, 1, 'alice', [{ type: 1, value: parseIp('10.66.0.5') }])).toEqual(['10.66.0.5']);
    expect(granted(leases, 2, 'bob', [{ type: 1, value: parseIp('10.66.0.5') }])).toEqual(['10.66.0.2']);
    expect(granted(leases, 3, 'carol', [{ type: 1, value: parseIp('10.66.0.1') }])).toEqual(['10.66.0.3']); // the gateway's own
    expect(granted(leases, 4, 'dave', [{ type: 1, value: parseIp('192.0.2.1') }])).toEqual(['10.66.0.4']);
  });

  test('what is asked for and not known is passed over: alone it is no request for an address (RFC 7296 §3.15.1)', () => {
    const strange = [
      { type: 0x3fff, value: parseIp('10.66.0.9') },
      { type: 2, value: new Uint8Array(0) },
      { type: 14, value: new Uint8Array(0) },
    ];
    expect(granted(table(), 1, 'a', strange)).toEqual([]);
    const answer = table().lease(1, ask('a', [...strange, ANY4, ...strange]));
    expect(answer.ok && answer.attributes).toEqual([{ type: 1, value: parseIp('10.66.0.2') }]);
  });

  test('both families together, one address each', () => {
    const leases = table({ ranges: ['10.66.0.0/29', 'fd5a::/64'] });
    expect(granted(leases, 1, 'alice', [ANY4, ANY6, ANY4])).toEqual(['10.66.0.2', 'fd5a::1']);
  });

  test('a family without a pool is left out while the other is served', () => {
    expect(granted(table(), 1, 'alice', [ANY6, ANY4])).toEqual(['10.66.0.2']);
    expect(granted(table(), 1, 'alice', [ANY6])).toEqual(['POOL_EXHAUSTED']);
  });

  test('an exhausted pool is INTERNAL_ADDRESS_FAILURE and names itself', () => {
    const leases = table({ ranges: ['10.66.0.8-10.66.0.8'] });
    granted(leases, 1, 'alice');
    const answer = leases.lease(2, ask('bob'));
    expect(answer).toMatchObject({ ok: false, error: { code: 'POOL_EXHAUSTED', notify: 36, message: expect.stringContaining('lan') } });
    leases.release(1);
    expect(granted(leases, 2, 'bob')).toEqual(['10.66.0.8']);
  });

  test('an unknown pool says so', () => {
    expect(table().lease(1, ask('alice', [ANY4], ['wan']))).toMatchObject({
      ok: false,
      error: { code: 'POOL_UNKNOWN', message: expect.stringContaining('wan') },
    });
  });

  test('the second pool serves when the first is full', () => {
    const leases = new LeaseTable([
      { name: 'small', ranges: ['10.0.0.1-10.0.0.1'] },
      { name: 'large', ranges: ['10.1.0.0/24'] },
    ]);
    const both = (ikeSa: number, name: string) => leases.lease(ikeSa, ask(name, [ANY4], ['small', 'large']));
    expect([both(1, 'a'), both(2, 'b')]).toMatchObject([{ addresses: ['10.0.0.1'] }, { addresses: ['10.1.0.1'] }]);
  });

  test('an IKE rekey takes the lease along; releasing the old IKE SA then frees nothing', () => {
    const leases = table();
    granted(leases, 1, 'alice');
    leases.transfer(1, 9);
    leases.release(1);
    expect(leases.list()).toMatchObject([{ ip: '10.66.0.2', ikeSa: 9 }]);
    expect(granted(leases, 2, 'alice')).toEqual(['10.66.0.3']);
  });

  test('new pools keep what is held where it still fits', () => {
    const leases = table();
    granted(leases, 1, 'alice');
    leases.setPools([{ name: 'lan', ranges: ['10.66.0.0/24'] }]);
    expect(granted(leases, 2, 'bob')).toEqual(['10.66.0.1']); // no longer reserved
    expect(granted(leases, 3, 'carol')).toEqual(['10.66.0.3']); // .2 is alice's
  });

  test('a client that asks for nothing is told of nothing but the servers', () => {
    const answer = table({ dns: ['10.66.0.1'] }).lease(1, ask('alice', []));
    expect(answer).toMatchObject({ ok: true, addresses: [] });
  });
});

describe('CFG_REPLY', () => {
  const reply = (policy: Partial<PoolPolicy>, requested: readonly ConfigurationAttribute[]): [number, string][] => {
    const answer = table(policy).lease(1, ask('alice', requested));
    if (!answer.ok) throw answer.error;
    return answer.attributes.map(({ type, value }) => [
      type,
      type === 25 ? fromUtf8(value) : value.length === 4 || value.length === 16 ? formatIp(value) : [...value].join('.'),
    ]);
  };

  test('IPv4: address, DNS, subnet with its mask, domain', () => {
    expect(
      reply({ dns: ['10.66.0.1', 'fd5a::1'], subnets: ['10.0.0.0/8', '192.0.2.128/25', 'fd5a::/48'], domains: ['corp.example'] }, [ANY4]),
    ).toEqual([
      [1, '10.66.0.2'],
      [3, '10.66.0.1'],
      [25, 'corp.example'],
      [13, '10.0.0.0.255.0.0.0'],
      [13, '192.0.2.128.255.255.255.128'],
    ]);
  });

  test('IPv6: address with the prefix length of the pool, DNS, subnet with its prefix length', () => {
    const octets = (ip: string): string => [...parseIp(ip)].join('.');
    expect(reply({ ranges: ['fd5a::/64'], dns: ['10.66.0.1', 'fd5a::53'], subnets: ['10.0.0.0/8', 'fd5a::/48'] }, [ANY6])).toEqual([
      [8, `${octets('fd5a::1')}.64`],
      [10, 'fd5a::53'],
      [15, `${octets('fd5a::')}.48`],
    ]);
  });

  test('where the gateway itself is found, for the families that were given', () => {
    expect(reply({ servers: ['10.66.0.1', 'fd5a::1'] }, [ANY4])).toEqual([
      [1, '10.66.0.2'],
      [23456, '10.66.0.1'],
    ]);
  });

  test('a default route as subnet has an empty mask', () => {
    expect(reply({ subnets: ['0.0.0.0/0'] }, [ANY4])).toEqual([
      [1, '10.66.0.2'],
      [13, '0.0.0.0.0.0.0.0'],
    ]);
  });
});

describe('peers that proved no identity (RFC 7619)', () => {
  const anonymous = (leases: LeaseTable, ikeSa: number, requested?: readonly ConfigurationAttribute[]) => {
    const answer = leases.lease(ikeSa, { ...ask('alice', requested), anonymous: true });
    return answer.ok ? answer.addresses : [];
  };

  test('an address that somebody is known by is not theirs for the asking', () => {
    const leases = table();
    expect(granted(leases, 1, 'bob')).toEqual(['10.66.0.2']);
    expect(granted(leases, 2, 'alice')).toEqual(['10.66.0.3']);
    leases.release(2);
    expect(anonymous(leases, 3, [{ type: 1, value: parseIp('10.66.0.3') }])).toEqual(['10.66.0.4']);
    expect(granted(leases, 4, 'alice')).toEqual(['10.66.0.3']);
  });

  test('and nothing is remembered of them', () => {
    const leases = table();
    expect(anonymous(leases, 1)).toEqual(['10.66.0.2']);
    leases.release(1);
    leases.restore(2, who('alice'), ['10.66.0.3'], true);
    leases.release(2);
    expect(leases.list()).toEqual([]);
  });
});

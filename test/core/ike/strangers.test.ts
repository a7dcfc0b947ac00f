import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/crypto/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import { KnownSources } from '../../../src/core/ike/known-sources.ts';
import type { EndpointLimits } from '../../../src/core/ike/policy.ts';
import { SourceBuckets, sourceOf, TokenBucket } from '../../../src/core/ike/token-bucket.ts';
import { lookAtFirstRequest, NotifyType, parseMessage } from '../../../src/core/wire/index.ts';
import { initMessage, initPayloads, parsed } from '../../security/support/hand-made.ts';
import { connection, End, LIMITS, settle } from './two-ends.ts';

const passed = (take: () => boolean, tries: number): number => Array.from({ length: tries }, take).filter(Boolean).length;

describe('token buckets', () => {
  test('let a burst through, then their rate', () => {
    const bucket = new TokenBucket(3, 10);
    expect([0, 50, 100, 10_000].map((now) => passed(() => bucket.take(now), 5))).toEqual([3, 0, 1, 3]);
  });

  test('are one for each source, and however many sources there are, not one more than the table holds', () => {
    const buckets = new SourceBuckets(3, 10);
    expect([0, 50, 100, 10_000].map((now) => passed(() => buckets.take('192.0.2.1', now), 5))).toEqual([3, 0, 1, 3]);
    expect(passed(() => buckets.take('192.0.2.2', 0), 5)).toBe(3);
    let n = 0;
    const all = passed(() => buckets.take(`10.${n >>> 16}.${(n >>> 8) & 255}.${n++ & 255}`, 20_000), 200_000);
    expect(all).toBeGreaterThan(30_000);
    expect(all).toBeLessThanOrEqual(3 * 16_384);
  });

  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['2001:db8::3:0:0:0:6', '2001:db8:0:3::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
    ['::2:3:4:5:6:7:8', '0:2:3:4::/64'],
  ])('%s counts as %s', (ip, source) => {
    expect(sourceOf(ip)).toBe(source);
  });
});

describe('known sources', () => {
  test.each<[string, string[], string[], string[]]>([
    ['addresses', ['192.0.2.1', '2001:DB8::0:1'], ['192.0.2.1', '2001:db8::1'], ['192.0.2.2', '2001:db8::2', '192.0.2.10']],
    ['a prefix', ['10.1.0.0/16'], ['10.1.0.0', '10.1.255.255'], ['10.2.0.0', '10.0.255.255', '2001:db8::1']],
    ['a prefix with more than its network in it', ['198.51.100.77/25'], ['198.51.100.1', '198.51.100.127'], ['198.51.100.128']],
    ['a prefix above the sign bit', ['240.0.0.0/4'], ['255.1.2.3', '240.0.0.1'], ['239.255.255.255']],
    ['single addresses as prefixes', ['192.0.2.1/32', '2001:db8::1/128'], ['192.0.2.1', '2001:db8::1'], ['192.0.2.0', '2001:db8::3']],
    ['everything of one family', ['0.0.0.0/0'], ['1.2.3.4'], ['::1']],
    ['prefixes of IPv6', ['2001:db8:8000::/33'], ['2001:db8:8000::1', '2001:db8:ffff::'], ['2001:db8:7fff::', '1.2.3.4']],
    ['anybody', ['%any'], ['1.2.3.4', '::1'], []],
    ['nobody', [], [], ['1.2.3.4', '::1']],
  ])('%s', (_what, patterns, inside, outside) => {
    const known = new KnownSources(patterns);
    expect(inside.filter((ip) => !known.has(ip))).toEqual([]);
    expect(outside.filter((ip) => known.has(ip))).toEqual([]);
  });
});

describe('a look at a first request', () => {
  const message = initMessage(initPayloads());

  test('finds what a parse finds', () => {
    const look = lookAtFirstRequest(message)!;
    const nonce = parseMessage(message).payloads.find((payload) => payload.kind === 'Nonce');
    expect(message.subarray(look.nonceStart, look.nonceEnd)).toEqual(nonce?.kind === 'Nonce' && nonce.data);
    expect(look.cookieEnd).toBe(0);
  });

  test('finds a cookie where it is the first payload, and only there', () => {
    const cookie = { kind: 'N' as const, protocol: 0, spi: new Uint8Array(0), notify: NotifyType.COOKIE, data: new Uint8Array(17).fill(5) };
    const first = initMessage([cookie, ...initPayloads()]);
    const look = lookAtFirstRequest(first)!;
    expect(first.subarray(look.cookieStart, look.cookieEnd)).toEqual(cookie.data);
    expect(lookAtFirstRequest(initMessage([...initPayloads(), cookie]))?.cookieEnd).toBe(0);
  });

  test('every length that is cut or stretched, every octet that is changed: no throw, and nothing outside of the datagram', () => {
    for (let end = 0; end < message.length; end++) expect(lookAtFirstRequest(message.slice(0, end))).toBeUndefined();
    for (let at = 16; at < message.length; at++) {
      for (const octet of [0, 1, 3, 40, 41, 255]) {
        const data = message.with(at, octet);
        const look = lookAtFirstRequest(data);
        if (look === undefined) continue;
        expect(look.nonceEnd).toBeLessThanOrEqual(data.length);
        expect(look.nonceEnd - look.nonceStart).toBeGreaterThanOrEqual(16);
      }
    }
  });
});

describe('strangers of an endpoint', () => {
  const LOCAL = { ip: '192.0.2.2', port: 500 };
  const from = (ip: string, port = 500) => ({ ip, port });
  const tell = (end: End, data: Uint8Array, remote = from('192.0.2.1'), now = 0): Datagram[] => {
    end.endpoint.receive({ local: LOCAL, remote, data: data.slice(), encap: false }, now);
    return end.drain(now);
  };
  const responder = (limits: Partial<EndpointLimits>) =>
    new End({ connections: [connection('right')], limits: { ...LIMITS, ...limits }, secret: new Uint8Array(32) });
  const init = () => initMessage(initPayloads(), systemRandom().ikeSpi());

  test('of a list of known peers others are not heard: no answer, no state, no parse, but a count', () => {
    const right = responder({ knownPeers: { addresses: ['198.51.100.0/24'], connections: true } });
    const noise = init().subarray(0, 28);
    for (const data of [init(), noise, init().with(17, 0x30), init().with(18, 35).fill(7, 8, 16)]) {
      expect(tell(right, data, from('203.0.113.9'))).toEqual([]);
    }
    expect(right.endpoint.load()).toMatchObject({ halfOpen: 0, strangers: { unknown: 4, refusals: 0, cookies: 0 } });
    expect(new Set(right.has('drop').map(({ cause }) => cause))).toContain('unknown-source');
    expect(tell(right, init())).toHaveLength(1); // whom the connection names
  });

  test('the peers that connections name are those of the connections that are there now', () => {
    const right = responder({ knownPeers: { addresses: [], connections: true } });
    expect(tell(right, init(), from('192.0.2.77'))).toEqual([]);
    right.endpoint.setConnections([connection('right', { remoteAddresses: ['192.0.2.77'] })]);
    expect(tell(right, init(), from('192.0.2.77'))).toHaveLength(1);
  });

  test('a peer that moves where the list does not reach is still a peer: its IKE SA finds it', () => {
    const right = responder({ knownPeers: { addresses: ['192.0.2.1'], connections: false } });
    const left = new End({ connections: [connection('left')] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    left.endpoint.command({ kind: 'check-liveness', ikeSa: left.endpoint.info()[0]!.id }, 10);
    const [probe] = left.drain(10);
    expect(tell(right, probe!.data, from('203.0.113.9'), 10)).toHaveLength(1);
  });

  test.each<[string, (n: number) => Uint8Array]>([
    ['a refusal of IKE_SA_INIT', () => initMessage(initPayloads({ proposals: [] }).slice(1))],
    ['INVALID_MAJOR_VERSION', () => init().with(17, 0x30)],
  ])('%s: so often to one source, so often to all', (_what, make) => {
    const right = responder({ refusals: { perSource: 5, inAll: 20 }, cookieThreshold: 1e6 });
    expect(passed(() => tell(right, make(0)).length > 0, 50)).toBe(10);
    let n = 0;
    expect(passed(() => tell(right, make(0), from(`198.51.100.${n++}`)).length > 0, 200)).toBe(30);
    expect(right.endpoint.load().strangers).toMatchObject({ refusals: 40, silenced: 210 });
    expect(passed(() => tell(right, make(0), from('192.0.2.1'), 1000).length > 0, 50)).toBe(5);
  });

  test('cookies have allowances of their own', () => {
    const right = responder({ cookies: { perSource: 5, inAll: 20 }, cookieThreshold: 0 });
    expect(passed(() => tell(right, init()).length > 0, 50)).toBe(10);
    let n = 0;
    expect(passed(() => tell(right, init(), from(`198.51.100.${n++}`)).length > 0, 200)).toBe(30);
    expect(right.endpoint.load().strangers).toMatchObject({ cookies: 40, refusals: 0, silenced: 210 });
  });

  test('D29 a cookie that comes back is worth an IKE SA; D30 one that was changed is worth another cookie', () => {
    const right = responder({ cookieThreshold: 0 });
    const request = init();
    const [demand] = tell(right, request);
    const [{ payloads }] = parsed([demand!.data]) as [ReturnType<typeof parseMessage>];
    const [cookie] = payloads;
    if (cookie?.kind !== 'N') throw new Error('no cookie came');
    expect(demand!.data.length).toBeLessThan(60);
    const again = (data: Uint8Array) => initMessage([{ ...cookie, data }, ...initPayloads()], request.slice(0, 8));
    for (const forged of [cookie.data.with(3, cookie.data[3]! ^ 1), cookie.data.subarray(1), new Uint8Array(64)]) {
      const [answer] = tell(right, again(forged));
      expect(parsed([answer!.data])[0]!.payloads).toMatchObject([{ kind: 'N', notify: NotifyType.COOKIE }]);
    }
    expect(tell(right, again(cookie.data), from('192.0.2.9'))).toHaveLength(1);
    expect(right.endpoint.load().halfOpen).toBe(0);
    const good = again(cookie.data);
    const [answer] = tell(right, good, from('192.0.2.1', 1024));
    expect(parsed([answer!.data])[0]!.payloads.map(({ kind }) => kind)).toContain('KE');
    expect(right.endpoint.load().halfOpen).toBe(1);
    // a copy of what was answered is answered alike, without another cookie
    expect(tell(right, good, from('192.0.2.1', 1024))[0]!.data).toEqual(answer!.data);
  });

  test('pressure demands cookies of strangers, and its end takes that back', () => {
    const right = responder({});
    right.endpoint.observe({ kind: 'pressure', high: true }, 0);
    expect(parsed([tell(right, init())[0]!.data])[0]!.payloads).toMatchObject([{ kind: 'N', notify: NotifyType.COOKIE }]);
    right.endpoint.observe({ kind: 'pressure', high: false }, 0);
    expect(parsed([tell(right, init())[0]!.data])[0]!.payloads.map(({ kind }) => kind)).toContain('KE');
  });

  test('half-open IKE SAs of one IPv6 /64 count together', () => {
    const v6 = { localAddresses: ['2001:db8::2'], remoteAddresses: ['%any'] };
    const right = new End({ connections: [connection('right', v6)], limits: { ...LIMITS, cookieThreshold: 1e6, halfOpenPerAddress: 3 } });
    for (let n = 1; n <= 10; n++) {
      const remote = from(`2001:db8:7:7::${n}`);
      right.endpoint.receive({ local: { ip: '2001:db8::2', port: 500 }, remote, data: init(), encap: false }, 0);
    }
    expect(right.endpoint.load().halfOpen).toBe(3);
    right.endpoint.expire(LIMITS.halfOpenLife);
    expect(right.endpoint.load().halfOpen).toBe(0);
    const remote = from('2001:db8:7:7::99');
    right.endpoint.receive({ local: { ip: '2001:db8::2', port: 500 }, remote, data: init(), encap: false }, LIMITS.halfOpenLife);
    expect(right.endpoint.load().halfOpen).toBe(1);
  });

  test('turning away alone does what receiving does, to the octet, and leaves to that what it does not do', () => {
    const octets = (n: number) => () => new Uint8Array(n).fill(7);
    const random = { ...systemRandom(), ikeSpi: octets(8), nonce: octets(32), secret: octets(32) };
    const make = () => new End({ connections: [connection('right')], limits: { ...LIMITS, cookieThreshold: 0 }, random });
    const [whole, alone] = [make(), make()];
    const turn = (data: Uint8Array): { done: boolean; out: Datagram[] } => {
      const kept = data.slice();
      const done = alone.endpoint.turnsAway({ local: LOCAL, remote: from('192.0.2.1'), data, encap: false }, 0);
      expect(data).toEqual(kept);
      return { done, out: alone.drain(0) };
    };
    const first = init();
    const [demand] = tell(whole, first);
    expect(turn(first)).toEqual({ done: true, out: [demand] });
    const cookie = parseMessage(demand!.data).payloads[0]!;
    const forged = initMessage([{ ...cookie, data: new Uint8Array(17) } as typeof cookie, ...initPayloads()], first.slice(0, 8));
    expect(turn(forged)).toEqual({ done: true, out: tell(whole, forged) });
    const implausible = first.with(19, 0);
    expect(turn(implausible)).toEqual({ done: true, out: tell(whole, implausible) });
    const returned = initMessage([cookie, ...initPayloads()], first.slice(0, 8));
    expect(turn(returned)).toEqual({ done: false, out: [] });
    expect(alone.endpoint.load().halfOpen).toBe(0);
    expect(turn(first.with(18, 35))).toEqual({ done: false, out: [] });
    expect(tell(alone, returned)).toHaveLength(1);
    expect(alone.endpoint.load().halfOpen).toBe(1);
  });
});

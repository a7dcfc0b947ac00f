import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes/index.ts';
import { prf, prfPlus } from '../../src/core/crypto/index.ts';
import type { Connection } from '../../src/core/ike/index.ts';
import { ExchangeType, NotifyType, PrfId, parseMessage, writeMessage } from '../../src/core/wire/index.ts';
import {
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  ikeProposal,
  type Net,
  type Pair,
  type PairOptions,
  type Peer,
  pair,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

const SECRET = new Uint8Array(32).fill(7);
const QUICK = { initial: 1000, base: 1.8, giveUp: 20_000 };

/** A client `a` with a ticket of the gateway `b`, at rest. */
function ticketed(options: PairOptions = {}): Pair {
  const made = pair({
    ...options,
    connection: { resumption: true, retransmission: QUICK, ...options.connection },
    child: { dpdAction: 'start', ...options.child },
    b: { ...options.b, child: { dpdAction: 'clear', ...options.b?.child }, endpoint: { secret: SECRET, ...options.b?.endpoint } },
  });
  const { net, a, b } = made;
  a.initiate();
  net.settle();
  expect([a.ikeSas[0], b.ikeSas[0]]).toMatchObject([
    { resumable: true, resumed: false },
    { resumable: true, resumed: false },
  ]);
  net.skip();
  return made;
}

/** The gateway dies and comes back with nothing; the client finds out by its own question. */
function crash(net: Net, a: Peer, b: Peer): void {
  b.restart('nothing');
  a.checkLiveness();
  net.until('the client gives up', () => a.ikeSas.every((sa) => sa.establishedAt === undefined), 60_000);
  net.skip();
}

const established = (peer: Peer) => peer.ikeSas.filter(({ state }) => state === 'established');
const exchanges = (net: Net, from: string) => net.unread.filter((m) => m.from === from).map((m) => m.summary.split(' ')[0]);
/** The last datagram of this exchange that a peer sent. */
const sentOf = (peer: Peer, exchange: number) => peer.sent.filter(({ data }) => data[18] === exchange).at(-1)!;

const WHOLE = ['IKE_SA_INIT', 'IKE_AUTH'];

describe('session resumption (RFC 5723)', () => {
  test('the gateway restarts without a snapshot: the client comes back by its ticket, without key exchange, and gets a new one', () => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    net.chart(`
      a → b  IKE_SESSION_RESUME request  { Ni, N(TICKET_OPAQUE), ... }
      b → a  IKE_SESSION_RESUME response { Nr, ... }
      a → b  IKE_AUTH request  { IDi, AUTH, SA, TSi, TSr, N(TICKET_REQUEST), ... }
      b → a  IKE_AUTH response { IDr, AUTH, SA, TSi, TSr, N(TICKET_LT_OPAQUE) }
    `);
    net.settle();
    expect([established(a), established(b)]).toMatchObject([[{ resumed: true, resumable: true }], [{ resumed: true, resumable: true }]]);
    expect(b.ikeSas[0]).toMatchObject({ remoteAuth: 'SHARED_KEY_MIC' });
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('an IKE SA of several key exchanges and a PPK is resumed without them: both are in its keys already (RFC 8784 §3)', () => {
    const ppk = { id: { kind: 'exact', id: fqdn('ppk.lab') }, required: true } as const;
    const ppks = { 'ppk.lab': SECRET };
    const { net, a, b } = ticketed({
      connection: { ppk, proposals: [ikeProposal('aes256gcm16-prfsha384-x25519-ke1_mlkem768')] },
      a: { identity: { ppks } },
      b: { identity: { ppks } },
    });
    crash(net, a, b);
    net.settle();
    expect(exchanges(net, 'a')).toEqual(['IKE_SESSION_RESUME', 'IKE_AUTH']);
    expect(net.unread.some((m) => m.summary.includes('PPK'))).toBe(false);
    expect(established(b)).toMatchObject([{ resumed: true }]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    a.rekeyIke();
    net.settle();
    expect(exchanges(net, 'a')).toContain('IKE_FOLLOWUP_KE');
    expectOneChild(a, b);
    expectInvariants(net);
  });

  test('whom the client asks for is called as in the ticket, however the client spells it (§4.3.3)', () => {
    const spelt = { kind: 'exact', id: fqdn('B.Example') } as const;
    const { net, a, b } = ticketed({ a: { connection: { remote: [{ auth: 'psk', id: spelt }] } } });
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    const asked = new Insider(a).open(sentOf(a, ExchangeType.IKE_AUTH).data).find(({ kind }) => kind === 'IDr');
    expect(asked).toMatchObject(fqdn('b.example'));
    expect(established(a)).toMatchObject([{ resumed: true }]);
  });

  test('the keys are those of §5.1', () => {
    const { net, a, b } = ticketed();
    const { SK_d } = structuredClone(a.endpoint.snapshot().tickets![0]!);
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    const [Ni, Nr] = [a, b].map((peer) => {
      const { payloads } = parseMessage(sentOf(peer, ExchangeType.IKE_SESSION_RESUME).data);
      return payloads.find((payload) => payload.kind === 'Nonce')!.data;
    }) as [Uint8Array, Uint8Array];
    const log = a.heard('ike-keys').at(-1)!.keys;
    const hash = prf(PrfId.PRF_HMAC_SHA2_256)!;
    const SKEYSEED = hash.compute(SK_d, utf8('Resumption'), Ni, Nr);
    const stream = prfPlus(hash, SKEYSEED, concat(Ni, Nr, log.spiI, log.spiR), 32 + 20 + 20);
    expect([log.SK_ei, log.SK_er]).toEqual([stream.slice(32, 52), stream.slice(52, 72)]);
  });

  test('again and again: each ticket is used once', () => {
    const { net, a, b } = ticketed();
    for (let life = 0; life < 3; life++) {
      crash(net, a, b);
      net.until('it is back', () => established(a).length === 1);
      net.settle();
      expect(exchanges(net, 'a').slice(0, 2)).toEqual(['IKE_SESSION_RESUME', 'IKE_AUTH']);
    }
    expect(a.heard('not-resumed')).toEqual([]);
    expectTrafficBothWays(net, a, b);
  });

  test('SKEYSEED and AUTH are those of §5.1 and §4.3.3: what changes in the exchange is noticed', () => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    net.exchange('a → b  IKE_SESSION_RESUME request { Ni, N(TICKET_OPAQUE), ... }');
    // somebody on the path changes what AUTH covers, but not what the keys are made of
    const genuine = parseMessage(sentOf(a, ExchangeType.IKE_SESSION_RESUME).data);
    b.inject(writeMessage(genuine.header, [...genuine.payloads, { kind: 'V', data: Uint8Array.of(1) }]), { ip: '192.0.2.1', port: 500 });
    net.until('it is back', () => established(a).length === 1);
    expect(a.heard('not-resumed')).toHaveLength(1);
    expect(b.heard('ike-down').map(({ error }) => error?.code)).toContain('RESUMPTION_UNPROVEN');
  });

  test('without a lasting secret a restart voids all tickets: TICKET_NACK, and the whole handshake follows in one go', () => {
    const { net, a, b } = ticketed({ b: { endpoint: { secret: undefined } } });
    crash(net, a, b);
    net.chart(`
      a → b  IKE_SESSION_RESUME request  { Ni, N(TICKET_OPAQUE), ... }
      b → a  IKE_SESSION_RESUME response { N(TICKET_NACK) }
      a → b  IKE_SA_INIT request  { SA, KE, Ni, ... }
    `);
    net.settle();
    expect(established(a)).toMatchObject([{ resumed: false, resumable: true }]);
    expect(a.heard('not-resumed')).toHaveLength(1);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  const changes: readonly [string, (connection: Connection) => Connection | undefined][] = [
    ['the peer is no longer configured', () => undefined],
    ['resumption was turned off', (c) => ({ ...c, resumption: false })],
    ['another identity is wanted', (c) => ({ ...c, remote: [{ auth: 'psk', id: { kind: 'exact', id: fqdn('somebody.example') } }] })],
    ['a post-quantum pre-shared key is wanted', (c) => ({ ...c, ppk: { id: { kind: 'any' }, required: true } })],
    ['another suite is wanted', (c) => ({ ...c, proposals: [ikeProposal('aes256gcm16-prfsha384-x25519')] })],
  ];
  test.each(changes)('%s: the ticket is not taken', (_, change) => {
    const { net, a, b } = ticketed();
    const changed = b.options.connections.flatMap((c) => change(c) ?? []);
    b.restart('nothing');
    b.endpoint.setConnections(changed.length > 0 ? changed : b.options.connections.map((c) => ({ ...c, name: 'others' })));
    a.checkLiveness();
    net.until('the client gives up', () => a.ikeSas.every((sa) => sa.establishedAt === undefined), 60_000);
    net.skip();
    net.exchange('a → b  IKE_SESSION_RESUME request { Ni, N(TICKET_OPAQUE), ... }');
    net.exchange('b → a  IKE_SESSION_RESUME response { N(TICKET_NACK) }');
    net.exchange('a → b  IKE_SA_INIT request { ... }');
  });

  test('other credentials: tickets that were given under those of before are void', () => {
    const options = { credentialsDigest: new Uint8Array(32).fill(1) as Uint8Array };
    const { net, a, b } = ticketed({ b: { endpoint: options } });
    (b.options.endpoint as { credentialsDigest: Uint8Array }).credentialsDigest = new Uint8Array(32).fill(2);
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    expect(a.heard('not-resumed')).toHaveLength(1);
  });

  test('the operator is asked again: a peer that may no longer come in does not, and is told so in the whole handshake, too', () => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    b.fault({ ask: 'authorise', outcome: 'fail', times: 2 });
    net.until('both ways failed', () => a.heard('failed').some(({ what }) => what.startsWith('connecting')));
    expect(
      exchanges(net, 'a')
        .filter((name) => name !== 'INFORMATIONAL')
        .slice(0, 4),
    ).toEqual(['IKE_SESSION_RESUME', 'IKE_AUTH', ...WHOLE]);
    expect(established(b)).toEqual([]);
  });

  test('cookies and half-open limits are those of IKE_SA_INIT', () => {
    const { net, a, b } = ticketed({ b: { limits: { cookieThreshold: 0 } } });
    crash(net, a, b);
    net.chart(`
      a → b  IKE_SESSION_RESUME request  { Ni, N(TICKET_OPAQUE), ... }
      b → a  IKE_SESSION_RESUME response { N(COOKIE) }
      a → b  IKE_SESSION_RESUME request  { N(COOKIE), Ni, N(TICKET_OPAQUE), ... }
      b → a  IKE_SESSION_RESUME response { Nr, ... }
    `);
    net.settle();
    expect(established(a)).toMatchObject([{ resumed: true }]);
  });

  test('a gateway that keeps silent about tickets is asked the long way after seconds, and the ticket is kept for the next time', () => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    b.host.setLink({ cut: true });
    net.run(8000);
    expect(exchanges(net, 'a')).toContain('IKE_SA_INIT');
    net.run(25_000);
    b.host.setLink({ cut: false });
    net.until('it is back', () => established(a).length === 1);
  });

  test('behind a NAT, from another port than before: it is found out anew', () => {
    const { net, a, b, nat } = ticketed({ nat: {} });
    nat!.reboot();
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    net.settle();
    expect(established(b)).toMatchObject([{ resumed: true, natTheirs: true }]);
    expectTrafficBothWays(net, a, b);
  });

  test('additional key exchanges were in the first IKE SA, and are not repeated; the next rekeying has them again', () => {
    const proposals = [ikeProposal('aes256gcm16-prfsha384-x25519-ke1_ecp256')];
    const { net, a, b } = ticketed({ connection: { proposals } });
    const { suite } = established(a)[0]!;
    crash(net, a, b);
    net.chart(`
      a → b  IKE_SESSION_RESUME request  { Ni, N(TICKET_OPAQUE), ... }
      b → a  IKE_SESSION_RESUME response { Nr, ... }
      a → b  IKE_AUTH request { ... }
    `);
    net.settle();
    expect([established(a)[0]!.suite, established(b)[0]!.suite]).toEqual([suite, suite]);
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expect(net.transcript.messages.some((m) => m.summary.startsWith('IKE_FOLLOWUP_KE'))).toBe(true);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('fragments are agreed on anew', () => {
    const { net, a, b } = ticketed({ connection: { fragmentation: 'force' } });
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    net.settle();
    expect([established(a)[0]!.fragmentation, established(b)[0]!.fragmentation]).toEqual([true, true]);
    expectTrafficBothWays(net, a, b);
  });

  test('the only address there is comes back to the peer that had it', () => {
    const { net, a, b } = ticketed({
      a: { connection: { virtualIps: ['0.0.0.0'] } },
      b: { connection: { pools: ['p'] }, pool: ['10.3.0.1'] },
    });
    expect(established(a)[0]!.assigned).toEqual(['10.3.0.1']);
    a.host.setLink({ cut: true });
    a.checkLiveness();
    net.until('the client gives up', () => a.ikeSas.every((sa) => sa.establishedAt === undefined), 60_000);
    a.host.setLink({ cut: false });
    net.until('it is back', () => established(a).length === 1);
    net.settle();
    expect(established(a)[0]!.assigned).toEqual(['10.3.0.1']);
    expect(b.pool.lent.size).toBe(1);
  });
});

describe('the life of a ticket (RFC 5723 §6.2)', () => {
  test.each(['a', 'b'])('after an IKE rekey by %s the client has a ticket of the new IKE SA, and the old one is void', (who) => {
    const { net, a, b } = ticketed();
    const before = a.endpoint.snapshot().tickets![0]!;
    (who === 'a' ? a : b).rekeyIke();
    net.settle({ quiet: 60_000 });
    const after = a.endpoint.snapshot().tickets![0]!;
    expect(after.opaque).not.toEqual(before.opaque);
    expect(after.SK_d).not.toEqual(before.SK_d);
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    expect(established(a)).toMatchObject([{ resumed: true }]);
  });

  test.each(['a', 'b'])('an IKE SA that %s closes takes its ticket with it, on both ends', (who) => {
    const { net, a, b } = ticketed();
    const stolen = structuredClone(a.endpoint.snapshot().tickets!);
    (who === 'a' ? a : b).deleteIke();
    net.settle({ quiet: 60_000 });
    expect(a.endpoint.snapshot().tickets).toEqual([]);
    // §9.8: a client that breaks the rule gets nowhere
    a.endpoint.restore({ version: 1, ikeSas: [], tickets: stolen }, net.now);
    net.skip();
    a.initiate();
    net.settle();
    expect(a.heard('not-resumed')).toHaveLength(1);
    expect(established(a)).toMatchObject([{ resumed: false }]);
    expectOneChild(a, b);
  });

  test('a ticket that was used is not taken again, whoever has it', () => {
    const { net, a, b } = ticketed();
    const used = structuredClone(a.endpoint.snapshot().tickets!);
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    net.settle();
    a.restart('nothing');
    a.endpoint.restore({ version: 1, ikeSas: [], tickets: used }, net.now);
    a.initiate();
    net.settle();
    expect(a.heard('not-resumed')).toHaveLength(1);
    expect(established(a)).toMatchObject([{ resumed: false }]);
  });

  test('one that expired is neither presented nor taken', () => {
    const { net, a, b } = ticketed({ connection: { lifetimes: { rekey: 0, jitter: 0, hard: 3_600_000, reauth: 0 } } });
    const kept = structuredClone(a.endpoint.snapshot().tickets!);
    expect(kept[0]!.left).toBeLessThanOrEqual(3_600_000);
    a.forgetIke();
    b.restart('nothing');
    net.run(3_600_000);
    a.endpoint.restore({ version: 1, ikeSas: [], tickets: [{ ...kept[0]!, left: 0 }] }, net.now);
    net.skip();
    a.initiate();
    net.exchange('a → b  IKE_SA_INIT request { ... }');
    net.settle();
    // a client with a wrong clock presents it all the same
    const { net: net2, a: a2, b: b2 } = ticketed({ connection: { lifetimes: { rekey: 0, jitter: 0, hard: 3_600_000, reauth: 0 } } });
    const late = structuredClone(a2.endpoint.snapshot().tickets!);
    a2.restart('nothing');
    b2.restart('nothing');
    net2.run(3_600_000);
    a2.endpoint.restore({ version: 1, ikeSas: [], tickets: late }, net2.now);
    a2.initiate();
    net2.settle();
    expect(a2.heard('not-resumed')).toHaveLength(1);
  });

  test('reauthentication bounds it: none is given where the time is over', () => {
    const { a } = ticketed({ connection: { lifetimes: { rekey: 0, jitter: 0, hard: 3_600_000, reauth: 600_000 } } });
    expect(a.endpoint.snapshot().tickets![0]!.left).toBeLessThanOrEqual(600_000);
  });

  test('the old IKE SA is still there: it goes without a word when its client resumes (§4.3.4)', () => {
    const { net, a, b } = ticketed();
    const { id } = established(b)[0]!;
    a.host.setLink({ cut: true });
    a.checkLiveness();
    net.until('the client gives up', () => a.ikeSas.every((sa) => sa.establishedAt === undefined), 60_000);
    a.host.setLink({ cut: false });
    net.until('it is back', () => established(a).length === 1);
    net.settle();
    expect(established(b)).toHaveLength(1);
    expect(established(b)[0]!.id).not.toBe(id);
    expect(established(b)[0]!.resumed).toBe(true);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('where one IKE SA for each peer is permitted, the one that is resumed is not in the way', () => {
    const { net, a, b } = ticketed({ b: { connection: { unique: 1 } } });
    a.host.setLink({ cut: true });
    a.checkLiveness();
    net.until('the client gives up', () => a.ikeSas.every((sa) => sa.establishedAt === undefined), 60_000);
    a.host.setLink({ cut: false });
    net.until('it is back', () => established(a).length === 1);
    net.settle();
    expect([established(a), established(b)]).toMatchObject([[{ resumed: true }], [{ resumed: true }]]);
    expect(a.heard('not-resumed')).toEqual([]);
  });

  test('a client that restarts with a snapshot still has it', () => {
    const { net, a, b } = ticketed();
    a.restart('snapshot');
    net.settle();
    crash(net, a, b);
    net.until('it is back', () => established(a).length === 1);
    expect(established(a)).toMatchObject([{ resumed: true }]);
  });

  test('who did not ask gets none; who may not have one is told', () => {
    const { net, a, b } = pair({ a: { connection: { resumption: true } } });
    a.initiate();
    net.settle();
    expect(established(a)).toMatchObject([{ resumable: false }]);
    expect(net.transcript.messages.find((m) => m.from === 'b' && m.summary.startsWith('IKE_AUTH'))!.summary).toContain('TICKET_NACK');
    expect(b.ikeSas).toMatchObject([{ resumable: false }]);
    const quiet = pair({ b: { connection: { resumption: true } } });
    quiet.a.initiate();
    quiet.net.settle();
    expect(quiet.net.transcript.messages.some((m) => m.summary.includes('TICKET'))).toBe(false);
  });
});

describe('tickets in the wrong hands', () => {
  test('stolen on the wire: without SK_d nobody can prove that it is theirs, and the owner is not disturbed', () => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    net.exchange('a → b  IKE_SESSION_RESUME request { ... }');
    const { header, payloads } = parseMessage(sentOf(a, ExchangeType.IKE_SESSION_RESUME).data);
    const thief = { ip: '203.0.113.66', port: 500 };
    b.inject(writeMessage({ ...header, spiI: Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9) }, payloads), thief);
    net.until('the owner is back', () => established(a).length === 1);
    net.settle({ quiet: 60_000 });
    expect(established(a)).toMatchObject([{ resumed: true }]);
    // spent by the owner
    b.inject(writeMessage({ ...header, spiI: Uint8Array.of(8, 9, 9, 9, 9, 9, 9, 9) }, payloads), thief);
    expect(b.heard('failed').at(-1)?.error.code).toBe('TICKET_NOT_TAKEN');
    expect(b.ikeSas).toHaveLength(1);
  });

  test('every flipped bit, every length: TICKET_NACK or nothing, never more octets than were sent', () => {
    const { net, a, b } = ticketed();
    const ticket = a.endpoint.snapshot().tickets![0]!.opaque;
    const present = (opaque: Uint8Array, nonce = 32) => {
      const before = b.sent.length;
      const header = {
        spiI: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
        spiR: new Uint8Array(8),
        majorVersion: 2,
        minorVersion: 0,
        messageId: 0,
      };
      const message = writeMessage(
        { ...header, exchange: ExchangeType.IKE_SESSION_RESUME, flags: { initiator: true, response: false, version: false } },
        [
          { kind: 'Nonce', data: new Uint8Array(nonce).fill(3) },
          { kind: 'N', notify: NotifyType.TICKET_OPAQUE, protocol: 0, spi: new Uint8Array(0), data: opaque },
        ],
      );
      // strangers are answered at a rate
      net.run(1000);
      b.inject(message, { ip: '203.0.113.66', port: 500 });
      const answers = b.sent.slice(before);
      for (const { data } of answers) expect(data.length).toBeLessThanOrEqual(message.length);
      return answers;
    };
    for (let bit = 0; bit < ticket.length * 8; bit += bit < 29 * 8 ? 1 : 7) {
      const forged = ticket.slice();
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expect(present(forged)).toHaveLength(1);
    }
    for (let length = 0; length < ticket.length; length += length < 50 ? 1 : 11)
      expect(present(ticket.subarray(0, length))).toHaveLength(1);
    expect(present(concat(ticket, Uint8Array.of(0)))).toHaveLength(1);
    expect(present(new Uint8Array(9000))).toHaveLength(1);
    expect(present(ticket, 8)).toHaveLength(1);
    expect(b.ikeSas).toHaveLength(1);
    expectTrafficBothWays(net, a, b);
  });

  test.each([
    ['no ticket', (p: readonly { kind: string }[]) => p.filter((one) => one.kind !== 'N')],
    ['no nonce', (p: readonly { kind: string }[]) => p.filter((one) => one.kind !== 'Nonce')],
  ])('a request with %s is refused without state', (_, change) => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    net.exchange('a → b  IKE_SESSION_RESUME request { ... }');
    const { header, payloads } = parseMessage(sentOf(a, ExchangeType.IKE_SESSION_RESUME).data);
    b.inject(writeMessage({ ...header, spiI: new Uint8Array(8).fill(5) }, change(payloads) as never), { ip: '203.0.113.66', port: 500 });
    expect(b.ikeSas).toEqual([]);
  });

  test('forged answers to IKE_SESSION_RESUME at worst cost the whole handshake', () => {
    const { net, a, b } = ticketed();
    crash(net, a, b);
    net.exchange('a → b  IKE_SESSION_RESUME request { ... }');
    const { header } = parseMessage(sentOf(a, ExchangeType.IKE_SESSION_RESUME).data);
    const flags = { initiator: false, response: true, version: false };
    const nack = { kind: 'N', notify: NotifyType.TICKET_NACK, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) } as const;
    a.inject(writeMessage({ ...header, exchange: ExchangeType.IKE_SA_INIT, flags }, [nack]), { ip: '198.51.100.2', port: 500 });
    expect(a.heard('not-resumed')).toEqual([]);
    a.inject(writeMessage({ ...header, flags }, [nack]), { ip: '198.51.100.2', port: 500 });
    expect(a.heard('not-resumed')).toHaveLength(1);
    net.settle({ quiet: 60_000 });
    expect(established(a)).toMatchObject([{ resumed: false }]);
    expectOneChild(a, b);
  });
});

import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes/index.ts';
import type { Connection, RedirectPolicy } from '../../src/core/ike/index.ts';
import { ExchangeType, NotifyType, type Payload, parseMessage, writeMessage } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  expectInvariants,
  expectTrafficBothWays,
  fqdn,
  Net,
  type Peer,
  type PeerOptions,
  subnet,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

const CLIENT = '192.0.2.1';
const FIRST = '198.51.100.2';
const SECOND = '198.51.100.3';
const NAMES = { 'two.example': SECOND, 'nowhere.example': '0.0.0.0' };

/** A client and two gateways with one identity, as §3 wants it. */
function world(
  options: {
    readonly first?: RedirectPolicy;
    readonly second?: RedirectPolicy;
    readonly client?: Partial<Connection>;
    readonly child?: Parameters<typeof childPolicy>[0];
    readonly limits?: PeerOptions['limits'];
  } = {},
) {
  const net = new Net('redirect');
  const clientChild = childPolicy({ localTs: [subnet('10.1.0.0/24')], remoteTs: [subnet('10.2.0.0/24')], ...options.child });
  const client = net.peer('a', CLIENT, {
    connections: [
      connectionPolicy({
        localAddresses: [CLIENT],
        remoteAddresses: [FIRST],
        children: [clientChild],
        redirect: { follow: true, most: 5, within: 300_000 },
        ...options.client,
      }),
    ],
    names: NAMES,
  });
  const gateway = (name: string, address: string, redirect: RedirectPolicy | undefined): Peer =>
    net.peer(name, address, {
      connections: [
        connectionPolicy({
          localAddresses: [address],
          children: [childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] })],
        }),
      ],
      identity: { id: fqdn('vpn.example') },
      endpoint: { redirect },
      ...(options.limits && { limits: options.limits }),
    });
  return { net, client, first: gateway('b', FIRST, options.first), second: gateway('c', SECOND, options.second) };
}

const always = (to: string, exchange: 'init' | 'auth'): RedirectPolicy => ({ to: [to], when: { kind: 'always' }, exchange, grace: 30_000 });

const redirect = (data: Uint8Array): Payload => ({ kind: 'N', notify: NotifyType.REDIRECT, protocol: 0, spi: new Uint8Array(0), data });
const ipv4 = (...octets: number[]) => Uint8Array.of(1, 4, ...octets);
const name = (text: string) => concat(Uint8Array.of(3, text.length), utf8(text));

/** What an on-path attacker answers to the last IKE_SA_INIT request of a peer. */
function forgedInit(peer: Peer, payloads: (Ni: Uint8Array) => readonly Payload[]): Uint8Array {
  const { header, payloads: asked } = parseMessage(peer.sent.at(-1)!.data);
  const nonce = asked.find((payload) => payload.kind === 'Nonce')!;
  return writeMessage({ ...header, flags: { initiator: false, response: true, version: false } }, payloads(nonce.data));
}

const established = (peer: Peer) => peer.ikeSas.filter(({ state }) => state === 'established');

describe('redirect during IKE_SA_INIT (RFC 5685 §3)', () => {
  test.each([SECOND, 'two.example'])('to %s: the client goes there and says where it comes from', (to) => {
    const { net, client, first, second } = world({ first: always(to, 'init') });
    client.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request  { N(REDIRECT_SUPPORTED), SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response { N(REDIRECT) }
      a → c  IKE_SA_INIT request  { N(REDIRECTED_FROM), SA, KE, Ni, ... }
      c → a  IKE_SA_INIT response { SA, KE, Nr, ... }
      a → c  IKE_AUTH request     { IDi, AUTH, SA, TSi, TSr, ... }
      c → a  IKE_AUTH response    { IDr, AUTH, SA, TSi, TSr, ... }
    `);
    net.settle({ quiet: 120_000 });
    expect([client.ikeSas.length, first.ikeSas.length, second.ikeSas.length]).toEqual([1, 0, 1]);
    expect(client.heard('redirected')).toMatchObject([{ ikeSa: 1, connection: 'net', gateway: to, byUs: false, to: 2 }]);
    expect(second.ikeSas[0]).toMatchObject({ redirectable: true, redirectedFrom: FIRST });
    expect(client.heard('failed')).toEqual([]);
    expectTrafficBothWays(net, client, second);
    expectInvariants(net);
  });

  test('the gateway keeps no state, and answers with fewer octets than it was sent', () => {
    const { net, client, first } = world({ first: always(SECOND, 'init') });
    client.initiate();
    net.exchange('a → b  IKE_SA_INIT request { N(REDIRECT_SUPPORTED), ... }');
    net.exchange('b → a  IKE_SA_INIT response { N(REDIRECT) }');
    expect(first.ikeSas).toEqual([]);
    const answer = parseMessage(first.sent[0]!.data);
    expect(answer.header.spiR).toEqual(new Uint8Array(8));
    expect(first.sent[0]!.data.length).toBeLessThan(client.sent[0]!.data.length);
  });

  test('a client that does not follow is served, and never sees a REDIRECT', () => {
    const { net, client, first } = world({
      first: always(SECOND, 'init'),
      client: { redirect: { follow: false, most: 5, within: 300_000 } },
    });
    client.initiate();
    net.settle();
    expect(established(first)).toMatchObject([{ redirectable: false }]);
    expect(net.transcript.messages.some((m) => m.summary.includes('REDIRECT'))).toBe(false);
  });

  test('over N: the first N clients stay', () => {
    const { net, client, first } = world({ first: { to: [SECOND], when: { kind: 'over', ikeSas: 1 }, exchange: 'init', grace: 1000 } });
    client.initiate();
    net.settle();
    expect(established(first)).toHaveLength(1);
    client.initiate();
    net.until('the second goes elsewhere', () => client.heard('redirected').length === 1);
  });

  test('two full gateways do not play ball with a client', () => {
    const over = (to: string): RedirectPolicy => ({ to: [to], when: { kind: 'over', ikeSas: 0 }, exchange: 'init', grace: 1000 });
    const { net, client, second } = world({ first: over(SECOND), second: over(FIRST) });
    client.initiate();
    net.settle();
    expect(client.heard('redirected')).toHaveLength(1);
    expect(established(second)).toHaveLength(1);
  });

  test('a circle of gateways ends after max_redirects with one clear error (§7)', () => {
    const { net, client, first, second } = world({ first: always(SECOND, 'init'), second: always(FIRST, 'init') });
    client.initiate();
    net.settle();
    expect(client.heard('redirected')).toHaveLength(5);
    expect(client.heard('failed').map(({ error }) => error.code)).toEqual(['REDIRECT_LOOP']);
    expect([client.ikeSas, first.ikeSas, second.ikeSas]).toEqual([[], [], []]);
    // §7: within the period no further one is followed; afterwards they count anew
    client.initiate();
    net.settle();
    expect(client.heard('redirected')).toHaveLength(5);
    net.run(300_000);
    client.initiate();
    net.settle();
    expect(client.heard('redirected')).toHaveLength(10);
  });

  test.each([
    [
      'another nonce',
      (Ni: Uint8Array) => [
        redirect(
          concat(
            ipv4(203, 0, 113, 9),
            Ni.map((octet) => octet ^ 1),
          ),
        ),
      ],
    ],
    ['half the nonce', (Ni: Uint8Array) => [redirect(concat(ipv4(203, 0, 113, 9), Ni.subarray(0, 16)))]],
    ['no nonce', () => [redirect(ipv4(203, 0, 113, 9))]],
    ['no data', () => [redirect(new Uint8Array(0))]],
    ['one octet', () => [redirect(Uint8Array.of(1))]],
    ['an identity longer than the rest', (Ni: Uint8Array) => [redirect(concat(Uint8Array.of(3, 255), utf8('x'), Ni))]],
    ['an IPv4 address of 16 octets', (Ni: Uint8Array) => [redirect(concat(Uint8Array.of(1, 16), new Uint8Array(16).fill(9), Ni))]],
    ['an unknown type', (Ni: Uint8Array) => [redirect(concat(Uint8Array.of(4, 4, 9, 9, 9, 9), Ni))]],
    ['the unspecified address', (Ni: Uint8Array) => [redirect(concat(ipv4(0, 0, 0, 0), Ni))]],
    ['a group', (Ni: Uint8Array) => [redirect(concat(ipv4(224, 0, 0, 1), Ni))]],
    ['everybody', (Ni: Uint8Array) => [redirect(concat(ipv4(255, 255, 255, 255), Ni))]],
    ['an empty name', (Ni: Uint8Array) => [redirect(concat(Uint8Array.of(3, 0), Ni))]],
    ['a name with a line break', (Ni: Uint8Array) => [redirect(concat(name('vpn\n.example'), Ni))]],
    ['a name with a terminal sequence', (Ni: Uint8Array) => [redirect(concat(name('\x1b[2Jvpn.example'), Ni))]],
  ])('a forged one with %s is dropped, and the true answer is still taken', (_, payloads) => {
    const { net, client, first } = world();
    client.initiate();
    net.exchange('a → b  IKE_SA_INIT request { N(REDIRECT_SUPPORTED), ... }');
    client.inject(forgedInit(client, payloads), { ip: FIRST, port: 500 });
    expect(client.drops['implausible-init']).toBe(1);
    net.settle();
    expect(client.heard('redirected')).toEqual([]);
    expect(established(first)).toHaveLength(1);
  });

  test('one that we did not offer to follow is dropped, nonce or not', () => {
    const { net, client, first } = world({ client: { redirect: { follow: false, most: 5, within: 300_000 } } });
    client.initiate();
    net.exchange('a → b  IKE_SA_INIT request { SA, KE, Ni, ... }');
    client.inject(
      forgedInit(client, (Ni) => [redirect(concat(ipv4(203, 0, 113, 9), Ni))]),
      { ip: FIRST, port: 500 },
    );
    net.settle();
    expect(established(first)).toHaveLength(1);
  });

  test('a forged one never touches an IKE SA that stands', () => {
    const { net, client, first } = world();
    client.initiate();
    net.settle();
    const { spiI, spiR } = client.ikeSas[0]!;
    for (const exchange of [ExchangeType.IKE_SA_INIT, ExchangeType.INFORMATIONAL, ExchangeType.IKE_AUTH])
      for (const response of [true, false])
        for (let messageId = 0; messageId < 4; messageId++) {
          const flags = { initiator: false, response, version: false };
          const header = { spiI, spiR, majorVersion: 2, minorVersion: 0, exchange, flags, messageId };
          client.inject(writeMessage(header, [redirect(ipv4(203, 0, 113, 9))]), { ip: FIRST, port: 500 });
        }
    net.settle();
    expect(client.heard('redirected')).toEqual([]);
    expect([established(client).length, established(first).length]).toEqual([1, 1]);
  });

  test('a name without address ends the attempt with what is wrong', () => {
    const { net, client } = world({ first: always('unknown.example', 'init') });
    client.initiate();
    net.settle();
    expect(client.heard('failed')).toHaveLength(1);
    expect(client.ikeSas).toEqual([]);
  });

  test('a name whose address is nobody’s is not dialled', () => {
    const { net, client } = world({ first: always('nowhere.example', 'init') });
    client.initiate();
    net.settle();
    expect(client.heard('failed').map(({ error }) => error.code)).toEqual(['BAD_REDIRECT']);
    expect(client.sent.every(({ remote }) => remote.ip === FIRST)).toBe(true);
  });
});

describe('redirect during IKE_AUTH (RFC 5685 §6)', () => {
  test('both ends are proven, no child is made, and the client deletes the IKE SA', () => {
    const { net, client, first, second } = world({ first: always(SECOND, 'auth') });
    client.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request  { N(REDIRECT_SUPPORTED), SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, ... }
      a → b  IKE_AUTH request     { IDi, AUTH, SA, TSi, TSr, ... }
      b → a  IKE_AUTH response    { IDr, AUTH, N(REDIRECT) }
      a → b  INFORMATIONAL request  { D }
      a → c  IKE_SA_INIT request  { N(REDIRECTED_FROM), SA, KE, Ni, ... }
    `);
    net.settle({ quiet: 120_000 });
    expect([client.ikeSas.length, first.ikeSas.length, second.ikeSas.length]).toEqual([1, 0, 1]);
    expect(first.plane.children).toEqual([]);
    expect(first.heard('redirected')).toMatchObject([{ gateway: SECOND, byUs: true }]);
    expectTrafficBothWays(net, client, second);
    expectInvariants(net);
  });

  test('a client that stays is deleted after the grace', () => {
    const { net, client, first } = world({ first: always(SECOND, 'auth') });
    client.initiate();
    net.until('it is sent away', () => first.heard('redirected').length === 1);
    client.host.setLink({ cut: true });
    client.restart('nothing');
    net.run(29_000);
    expect(established(first)).toHaveLength(1);
    net.run(3000);
    expect(first.ikeSas.map(({ state }) => state)).toEqual(['deleting']);
  });

  test('a gateway that cannot prove itself redirects nobody', () => {
    const { net, client, first, second } = world({
      first: always(SECOND, 'auth'),
      client: { remote: [{ auth: 'psk', id: { kind: 'exact', id: fqdn('other.example') } }] },
    });
    client.initiate();
    net.settle({ quiet: 120_000 });
    expect(client.heard('redirected')).toEqual([]);
    expect(second.sent).toEqual([]);
    expect([client.ikeSas, first.plane.children]).toEqual([[], []]);
  });
});

describe('redirect of an IKE SA that stands (RFC 5685 §5)', () => {
  const up = (options: Parameters<typeof world>[0] = {}) => {
    const all = world(options);
    all.client.initiate();
    all.net.settle();
    all.net.skip();
    return all;
  };
  const sendAway = (first: Peer, gateway: string) => first.command({ kind: 'redirect', ikeSa: established(first)[0]!.id, gateway });

  test.each([SECOND, 'two.example'])('to %s: the new one stands before the old one goes', (to) => {
    const { net, client, first, second } = up();
    sendAway(first, to);
    net.chart(`
      b → a  INFORMATIONAL request  { N(REDIRECT) }
      a → b  INFORMATIONAL response { }
      a → c  IKE_SA_INIT request  { N(REDIRECTED_FROM), SA, KE, Ni, ... }
      c → a  IKE_SA_INIT response { SA, KE, Nr, ... }
      a → c  IKE_AUTH request     { IDi, AUTH, SA, TSi, TSr, ... }
      c → a  IKE_AUTH response    { IDr, AUTH, SA, TSi, TSr, ... }
      a → b  INFORMATIONAL request  { D }
      b → a  INFORMATIONAL response { }
    `);
    net.settle({ quiet: 120_000 });
    expect([client.ikeSas.length, first.ikeSas.length, second.ikeSas.length]).toEqual([1, 0, 1]);
    expectTrafficBothWays(net, client, second);
    expectInvariants(net);
  });

  test.each(['a', 'b'])('after an IKE rekey by %s the original roles still count (§10)', (who) => {
    const { net, client, first, second } = up();
    (who === 'a' ? client : first).rekeyIke();
    net.settle({ quiet: 60_000 });
    expect(() => client.command({ kind: 'redirect', ikeSa: established(client)[0]!.id, gateway: SECOND })).toThrow(/follows redirects/);
    sendAway(first, SECOND);
    net.settle({ quiet: 120_000 });
    expect([client.ikeSas.length, first.ikeSas.length, second.ikeSas.length]).toEqual([1, 0, 1]);
  });

  test('a snapshot remembers it on both ends', () => {
    const { net, client, first, second } = up();
    first.restart('snapshot');
    client.restart('snapshot');
    net.settle();
    sendAway(first, SECOND);
    net.settle({ quiet: 120_000 });
    expect([client.ikeSas.length, first.ikeSas.length, second.ikeSas.length]).toEqual([1, 0, 1]);
  });

  test('an unreachable gateway: the client keeps what it has until the old one closes it', () => {
    const { net, client, first, second } = up({ client: { retransmission: { initial: 1000, base: 1.8, giveUp: 10_000 } } });
    second.host.setLink({ cut: true });
    sendAway(first, SECOND);
    net.run(15_000);
    expect(client.heard('failed').map(({ error }) => error.code)).toEqual(['PEER_SILENT']);
    expectTrafficBothWays(net, client, first);
    net.run(20_000);
    expect(client.heard('ike-down').at(-1)?.error?.code).toBe('CLOSED_BY_PEER');
  });

  test('an old gateway that closes at once: the client is on its way and does not come back to it', () => {
    const { net, client, first, second } = up({ child: { closeAction: 'start' } });
    client.host.setLink({ delay: 50 });
    sendAway(first, SECOND);
    first.deleteIke(established(first)[0]!.id);
    net.settle({ quiet: 120_000 });
    expect([established(client).length, first.ikeSas.length, second.ikeSas.length]).toEqual([1, 0, 1]);
    expectTrafficBothWays(net, client, second);
  });

  test('an old gateway that closes while the other one is not reached: the connection comes back to the first', () => {
    const { net, client, first, second } = up({
      child: { closeAction: 'start' },
      client: { retransmission: { initial: 1000, base: 1.8, giveUp: 10_000 } },
    });
    second.host.setLink({ cut: true });
    sendAway(first, SECOND);
    net.run(3000);
    first.deleteIke(established(first)[0]!.id);
    net.run(5000);
    expect(established(client)).toEqual([]);
    net.run(30_000);
    expect(established(client)).toHaveLength(1);
    expectTrafficBothWays(net, client, first);
  });

  test('the gateway that was left may send us on: a row of redirects ends at the last', () => {
    const { net, client, first, second } = up({ second: always(FIRST, 'init') });
    sendAway(first, SECOND);
    net.settle({ quiet: 120_000 });
    expect(client.heard('redirected')).toHaveLength(2);
    expect([established(client).length, established(first).length, second.ikeSas.length]).toEqual([1, 1, 0]);
    expectTrafficBothWays(net, client, first);
    expectInvariants(net);
  });

  test.each([
    ['a nonce', redirect(concat(ipv4(198, 51, 100, 3), new Uint8Array(32)))],
    ['no data', redirect(new Uint8Array(0))],
    ['a group', redirect(ipv4(239, 1, 1, 1))],
    ['a name of 255 octets', redirect(name('x'.repeat(255)))],
  ])('one with %s is answered, noticed and not followed', (_, payload) => {
    const { net, client, first } = up();
    const gateway = new Insider(first, 'responder');
    client.inject(gateway.request(ExchangeType.INFORMATIONAL, 0, [payload]), { ip: FIRST, port: 500 });
    net.exchange('a → b  INFORMATIONAL response { }');
    expect(client.heard('failed').map(({ error }) => error.code)).toEqual(['BAD_REDIRECT']);
    expect(client.heard('redirected')).toEqual([]);
    expect(established(client)).toHaveLength(1);
  });

  test('the initiator cannot redirect the responder, and whoever did not offer is not moved', () => {
    const { net, client, first } = up();
    const initiator = new Insider(first, 'initiator');
    first.inject(initiator.request(ExchangeType.INFORMATIONAL, 2, [redirect(ipv4(198, 51, 100, 3))]), { ip: CLIENT, port: 500 });
    net.run(1000);
    expect(first.heard('failed').map(({ error }) => error.code)).toEqual(['REDIRECT_UNASKED']);
    expect([established(client).length, established(first).length]).toEqual([1, 1]);
  });

  test('redirects of a session count for the limit too', () => {
    const { net, client, first } = up({ client: { redirect: { follow: true, most: 1, within: 300_000 } } });
    sendAway(first, 'unknown.example');
    net.run(2000);
    sendAway(first, SECOND);
    net.run(2000);
    expect(client.heard('redirected')).toHaveLength(1);
    expect(client.heard('failed').at(-1)?.error.code).toBe('REDIRECT_LOOP');
    expect(established(client)).toHaveLength(1);
  });

  test('what is no gateway is refused where it is asked for', () => {
    const { first } = up();
    for (const gateway of ['', '224.0.0.1', '0.0.0.0', 'a b', '-', 'x'.repeat(300)])
      expect(() => sendAway(first, gateway)).toThrow(/no gateway/);
  });
});

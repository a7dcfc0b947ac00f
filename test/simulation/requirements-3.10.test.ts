import { describe, expect, test } from 'vitest';
import { concat, equalBytes, toHex } from '../../src/core/bytes/index.ts';
import { ConfigAttributeType, ConfigType, ExchangeType, NotifyType, type Payload, ProtocolId } from '../../src/core/wire/index.ts';
import {
  espProposal,
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  type Pair,
  pair,
} from '../../src/testing/index.ts';
import { Insider, RawInitiator } from './insider.ts';

const CHILD = { proposals: [espProposal('aes128gcm16-noesn')] };
const EMPTY = new Uint8Array(0);
const notify = (type: number, protocol = 0): Payload => ({ kind: 'N', notify: type, protocol, spi: EMPTY, data: EMPTY });
const kinds = (payloads: readonly Payload[] | undefined): string[] =>
  (payloads ?? []).map((p) => (p.kind === 'N' ? `N(${p.notify})` : p.kind));
const spis = (peer: Pair['a']): string[] => peer.established.map(({ spiI }) => spiI.join());

/** What `b` answers to an INFORMATIONAL request in the name of `a`. */
function informed({ net, a, b }: Pair, payloads: readonly Payload[]): readonly Payload[] | undefined {
  const insider = new Insider(a);
  const before = b.sent.length;
  b.inject(insider.request(ExchangeType.INFORMATIONAL, 2, payloads), { ip: '192.0.2.1', port: 500 });
  net.run(10);
  const answer = b.sent[before];
  return answer && insider.open(concat(answer.data));
}

/** Every answer to CREATE_CHILD_SA on the IKE SA that stands comes to who asked as `change` makes it. */
function changeAnswers(
  { net, a }: Pair,
  change: (payloads: readonly Payload[]) => readonly Payload[],
  asked?: () => readonly Payload[],
): void {
  const [initiator, responder] = [new Insider(a), new Insider(a, 'responder')];
  const spi = a.ikeSas[0]!.spiI;
  const exchanges = new Map<string, number>();
  net.internet.core.intercept((packet) => {
    const { data, source, destination } = packet;
    if (!equalBytes(data.subarray(0, 8), spi)) return undefined;
    const isResponse = (data[19]! & 0x20) !== 0;
    const messageId = new DataView(data.buffer, data.byteOffset).getUint32(20);
    const key = `${isResponse ? destination.ip : source.ip} ${messageId}`;
    const sender = source.ip === '192.0.2.1' ? initiator : responder;
    if (!isResponse && data[18] === ExchangeType.CREATE_CHILD_SA) {
      exchanges.set(key, data[18]);
      return asked && [{ ...packet, data: sender.request(ExchangeType.INFORMATIONAL, messageId, asked()) }];
    }
    const exchange = isResponse ? exchanges.get(key) : undefined;
    if (exchange === undefined) return undefined;
    const flags = { initiator: sender === initiator, response: true, version: false };
    return [{ ...packet, data: sender.request(exchange, messageId, change(sender.open(data)), { flags }) }];
  });
}

/** The peer that is asked makes nothing, and says so; all it notices is that it was asked something. */
const refuseToCreate = (world: Pair): void =>
  changeAnswers(
    world,
    () => [notify(NotifyType.NO_ADDITIONAL_SAS)],
    () => [],
  );

describe('a peer that answers every CREATE_CHILD_SA with NO_ADDITIONAL_SAS (RFC 7296 §4)', () => {
  test.each(['rekeyChild', 'rekeyIke'] as const)(
    '%s: a new IKE SA with a new child takes the place of the old one, which is deleted',
    (what) => {
      const world = establishedPair();
      const { net, a, b } = world;
      const before = spis(a);
      refuseToCreate(world);
      a[what]();
      net.settle({ quiet: 60_000 });
      expect(a.heard('failed').map(({ error }) => error.code)).toEqual(['PEER_NO_ADDITIONAL_SAS']);
      expect(a.heard('ike-reauthenticated')).toHaveLength(1);
      expect(spis(a)).toHaveLength(1);
      expect(spis(a)).not.toEqual(before);
      expect(spis(b)).toEqual(spis(a));
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
      expectInvariants(net);
    },
  );

  test('who did not begin the IKE SA begins no other: what stands serves until its lifetime is over', () => {
    const world = establishedPair();
    const { net, a, b } = world;
    const before = spis(a);
    refuseToCreate(world);
    b.rekeyChild();
    net.settle({ quiet: 60_000 });
    expect(b.heard('failed').map(({ error }) => error.code)).toEqual(['PEER_NO_ADDITIONAL_SAS']);
    expect([spis(a), spis(b)]).toEqual([before, before]);
    expectTrafficBothWays(net, a, b);
  });

  test('a further child is refused, and the IKE SA stays', () => {
    const world = establishedPair();
    const before = spis(world.a);
    refuseToCreate(world);
    world.a.createChild('net');
    world.net.settle({ quiet: 60_000 });
    expect(spis(world.a)).toEqual(before);
    expectOneChild(world.a, world.b);
  });
});

describe('notifies of a response that nobody knows (RFC 7296 §3.10.1)', () => {
  test('an error: the request has failed, whatever else was answered', () => {
    const world = establishedPair({ child: CHILD });
    const { net, a } = world;
    changeAnswers(world, (payloads) => [notify(8190), ...payloads]);
    a.createChild('net');
    net.run(100);
    expect(a.heard('failed').map(({ error }) => error.code)).toEqual(['PEER_8190']);
    expect(a.plane.children).toHaveLength(1);
  });

  test('a status: as if it were not there', () => {
    const world = establishedPair({ child: CHILD });
    const { net, a, b } = world;
    changeAnswers(world, (payloads) => [notify(40_001), ...payloads, notify(65_535)]);
    a.createChild('net');
    net.settle();
    expect(a.heard('failed')).toEqual([]);
    expect([a, b].map((peer) => peer.plane.children.length)).toEqual([2, 2]);
  });
});

test.each([0, 1, 2, 3, 255])('Protocol ID %i of a notify without SPI is ignored (RFC 7296 §3.10)', (protocol) => {
  const { net, b } = pair({ child: CHILD });
  const peer = new RawInitiator(net, b, {
    initPayloads: (payloads) => [...payloads, notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED, protocol)],
  });
  expect(peer.init()).toBe(true);
  expect(kinds(peer.responses[0]!.payloads)).toContain(`N(${NotifyType.IKEV2_FRAGMENTATION_SUPPORTED})`);
  peer.auth();
  expect(b.established).toHaveLength(1);
});

test('REKEY_SA names the protocol of the CHILD_SA beside its SPI (RFC 7296 §3.10)', () => {
  const world = establishedPair();
  const { net, a } = world;
  const old = a.children[0]!.inboundSpi;
  const insider = new Insider(a);
  const before = a.sent.length;
  a.rekeyChild();
  net.run(1);
  const [request] = insider.open(concat(a.sent[before]!.data));
  expect(request).toMatchObject({ kind: 'N', notify: NotifyType.REKEY_SA, protocol: ProtocolId.ESP });
  expect(request?.kind === 'N' && new DataView(request.spi.slice().buffer).getUint32(0)).toBe(old);
});

test.each(['rekeyChild', 'rekeyIke'] as const)(
  '%s that is asked for again with another method has another nonce (RFC 7296 §3.9)',
  (what) => {
    const world = establishedPair({
      connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')] },
      child: { proposals: [espProposal('aes128gcm16-x25519-ecp256')] },
    });
    const { net, a } = world;
    const insider = new Insider(a);
    const before = a.sent.length;
    changeAnswers(
      world,
      () => [{ ...notify(NotifyType.INVALID_KE_PAYLOAD), data: Uint8Array.of(0, 19) }],
      () => [],
    );
    a[what]();
    net.run(100);
    const asked = a.sent.slice(before).map(({ data }) => insider.open(concat(data)));
    const values = (kind: 'Nonce' | 'KE') => asked.flatMap((payloads) => payloads.flatMap((p) => (p.kind === kind ? [toHex(p.data)] : [])));
    expect(values('KE').map((value) => value.length / 2)).toEqual([32, 64]);
    expect(new Set(values('Nonce')).size).toBe(2);
  },
);

test.each([1, 3, 5, 8])('a Delete for ESP with an SPI of %i octets deletes nothing (RFC 7296 §3.11)', (length) => {
  const world = establishedPair();
  const { a, b } = world;
  const spi = new Uint8Array(8);
  new DataView(spi.buffer).setUint32(0, a.children[0]!.inboundSpi);
  informed(world, [{ kind: 'D', protocol: ProtocolId.ESP, spis: [spi.slice(0, length)] }]);
  expect(b.plane.children).toHaveLength(1);
});

test('CFG_SET is answered without CFG_ACK: nothing of it is accepted (RFC 7296 §3.15.1)', () => {
  const world = establishedPair();
  const attributes = [{ type: ConfigAttributeType.INTERNAL_IP4_DNS, value: Uint8Array.of(192, 0, 2, 53) }];
  expect(informed(world, [{ kind: 'CP', cfgType: ConfigType.CFG_SET, attributes }])).toEqual([]);
  expectOneChild(world.a, world.b);
  expectTrafficBothWays(world.net, world.a, world.b);
});

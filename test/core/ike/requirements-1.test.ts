import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { systemRandom } from '../../../src/core/crypto/index.ts';
import { parseIdentity, parseIdentityPattern } from '../../../src/core/pki/index.ts';
import { ExchangeType, NotifyType, type Payload, TransformType, writeMessage } from '../../../src/core/wire/index.ts';
import { childPolicy, espProposal, ikeProposal } from '../../../src/testing/policies.ts';
import { requestHeader, tell } from '../../security/support/hand-made.ts';
import { establishedSas, establishedTrio, type Trio, trio } from '../../security/support/life.ts';
import { connection, End, settle } from './two-ends.ts';

/** Every message that one end sends while `act` runs and both come to rest, opened. */
function heard(world: Trio, from: End, act: () => void): { readonly exchange: number; readonly payloads: readonly Payload[] }[] {
  const list: { exchange: number; payloads: readonly Payload[] }[] = [];
  act();
  settle(world.left, world.right, 0, (datagram, sender) => {
    const opened = sender === from ? world.meddler.open(datagram.data) : undefined;
    if (opened) list.push({ exchange: opened.message.header.exchange, payloads: opened.payloads });
    return datagram;
  });
  return list;
}

const initiate = ({ left }: Trio): void => void left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
const proposalsOf = (payloads: readonly Payload[]) => payloads.flatMap((p) => (p.kind === 'SA' ? p.proposals : []));
const methodsOf = (payloads: readonly Payload[]): number[] =>
  proposalsOf(payloads).flatMap(({ transforms }) => transforms.filter((t) => t.type === TransformType.KE).map((t) => t.id));
const childOf = (side: 'left' | 'right', esp: string) => {
  const [policy] = connection(side).children;
  return [childPolicy({ ...policy, proposals: [espProposal(esp)], pfs: 'require' })];
};

describe('RFC 7296 chapter 1, requirement by requirement', () => {
  test('§1.2 an IKE_SA_INIT that is sent anew with another group proposes all of it again', () => {
    const world = trio({
      left: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')] },
      right: { proposals: [ikeProposal('aes128gcm16-prfsha256-ecp256')] },
    });
    const inits = heard(world, world.left, () => initiate(world)).filter(({ exchange }) => exchange === ExchangeType.IKE_SA_INIT);
    expect(inits).toHaveLength(2);
    expect(inits.map(({ payloads }) => payloads.find((p) => p.kind === 'KE')?.method)).toEqual([31, 19]);
    expect(methodsOf(inits[0]!.payloads)).toEqual([31, 19]);
    expect(proposalsOf(inits[1]!.payloads)).toEqual(proposalsOf(inits[0]!.payloads));
    expect(establishedSas(world.left)).toHaveLength(1);
  });

  test.each([
    ['a distinguished name', 'C=CH, CN=gw', 'C=CH, CN=gw'],
    ['a host name', 'gw.example', 'GW.example'],
  ])('§1.2 %s that is configured stands in IDr, and a responder of several identities takes that one', (_, wanted, own) => {
    const among = ['C=CH, CN=other', 'other.example', own];
    const left = new End({ connections: [connection('left', { remote: [{ auth: 'psk', id: parseIdentityPattern(wanted) }] })] });
    const right = new End({
      connections: among.map((id) => connection('right', { name: id, local: [{ auth: 'psk', id: parseIdentity(id) }] })),
    });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    expect(right.endpoint.info().map((sa) => [sa.state, sa.connection])).toEqual([['established', own]]);
  });

  test('§1.2 a pattern names nobody in IDr, and whoever the responder is may answer', () => {
    const left = new End({ connections: [connection('left', { remote: [{ auth: 'psk', id: parseIdentityPattern('C=CH, CN=*') }] })] });
    const right = new End({ connections: [connection('right', { local: [{ auth: 'psk', id: parseIdentity('C=CH, CN=gw') }] })] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    expect(left.endpoint.info()).toMatchObject([{ state: 'established', remoteId: parseIdentity('C=CH, CN=gw') }]);
  });

  test('§1.2 the SA payload of IKE_AUTH leaves the key exchange out, whatever the policy of the child', () => {
    const world = trio({ left: { children: childOf('left', 'aes128gcm16-noesn-x25519-ecp256') } });
    const auth = heard(world, world.left, () => initiate(world)).find(({ exchange }) => exchange === ExchangeType.IKE_AUTH)!;
    expect(proposalsOf(auth.payloads)).toHaveLength(1);
    expect(methodsOf(auth.payloads)).toEqual([]);
  });

  test('§1.3 the group of KEi is one of those in the SA offers, also where the peer insists on another', () => {
    const children = (side: 'left' | 'right') => ({ children: childOf(side, 'aes128gcm16-noesn-x25519-ecp256') });
    const world = establishedTrio({ left: children('left'), right: children('right') });
    const { left, right, meddler } = world;
    const [child] = establishedSas(left)[0]!.children;
    left.endpoint.command({ kind: 'rekey-child', child: child!.id }, 0);
    const requests: { readonly method: number | undefined; readonly offered: readonly number[] }[] = [];
    const insists: Payload = {
      kind: 'N',
      notify: NotifyType.INVALID_KE_PAYLOAD,
      protocol: 0,
      spi: new Uint8Array(0),
      data: Uint8Array.of(0, 14),
    };
    settle(left, right, 0, (datagram, from) => {
      const { message, payloads } = meddler.open(datagram.data)!;
      if (message.header.exchange !== ExchangeType.CREATE_CHILD_SA) return datagram;
      if (from === right) return meddler.rewrite(datagram, () => [insists]);
      requests.push({ method: payloads.find((p) => p.kind === 'KE')?.method, offered: methodsOf(payloads) });
      return datagram;
    });
    expect(requests).toEqual([{ method: 31, offered: [31, 19] }]);
    expect(left.has('failed').map(({ error }) => error.code)).toEqual(['KE_METHOD_REFUSED']);
  });

  test('§1.4.1 the SPI of an SA is not given away before the peer has let go of it', () => {
    const drawn = [0x1111_1111, 0x1111_1111, 0x2222_2222];
    const random = { ...systemRandom(), childSpi: () => drawn.shift()! };
    const left = new End({ connections: [connection('left')], random });
    const right = new End({ connections: [connection('right')] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    const [sa] = left.endpoint.info();
    left.endpoint.command({ kind: 'delete-child', child: sa!.children[0]!.id }, 0);
    // the Delete is lost, and the peer asks for one more
    left.drain(0);
    right.endpoint.command({ kind: 'create-child', ikeSa: right.endpoint.info()[0]!.id, child: 'net' }, 0);
    settle(left, right);
    const children = left.endpoint.info()[0]!.children.map(({ state, inboundSpi }) => [state, inboundSpi]);
    expect(children).toEqual([
      ['deleting', 0x1111_1111],
      ['installed', 0x2222_2222],
    ]);
  });

  test('§1.5 INVALID_SPI outside of an IKE SA is not answered, however long it is', () => {
    const connections = [connection('right', { crashDetection: true })];
    const right = new End({ connections, secret: utf8('a secret that outlives the process') });
    const header = requestHeader(new Uint8Array(8), { exchange: ExchangeType.INFORMATIONAL });
    const invalid: Payload = {
      kind: 'N',
      notify: NotifyType.INVALID_SPI,
      protocol: 0,
      spi: new Uint8Array(0),
      data: Uint8Array.of(1, 2, 3, 4),
    };
    expect(tell(right, writeMessage(header, [invalid]))).toEqual([]);
    expect(tell(right, writeMessage(header, [invalid, { kind: 'V', data: new Uint8Array(200) }]))).toEqual([]);
  });
});

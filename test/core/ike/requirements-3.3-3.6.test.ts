import { describe, expect, test } from 'vitest';
import { ExchangeType, NotifyType, type Payload, TransformType } from '../../../src/core/wire/index.ts';
import { espProposal, ikeProposal } from '../../../src/testing/policies.ts';
import { freshSpi, initMessage, initPayloads, parsed, tell } from '../../security/support/hand-made.ts';
import { establish, establishedSas, type Trio, trio } from '../../security/support/life.ts';
import { connection, IKE_PROPOSAL, settle } from './two-ends.ts';

type Kind = Payload['kind'];
const first = <K extends Kind>(payloads: readonly Payload[] | undefined, kind: K) =>
  payloads?.find((payload): payload is Extract<Payload, { kind: K }> => payload.kind === kind);

const child = (side: 'left' | 'right', words: string, pfs: 'require' | 'prefer' | 'off') => ({
  children: [{ ...connection(side).children[0]!, proposals: [espProposal(words)], pfs }],
});

/** What the two ends say in CREATE_CHILD_SA for another child; `edit` may change the request. */
function anotherChild({ left, right, meddler }: Trio, edit: (payloads: readonly Payload[]) => readonly Payload[] = (p) => p) {
  const said: (readonly Payload[])[] = [];
  left.endpoint.command({ kind: 'create-child', ikeSa: establishedSas(left)[0]!.id, child: 'net' }, 0);
  settle(left, right, 0, (datagram, from) => {
    if (datagram.data[18] !== ExchangeType.CREATE_CHILD_SA) return datagram;
    const changed = from === left ? meddler.rewrite(datagram, edit) : datagram;
    said.push(meddler.open(changed.data)!.payloads);
    return changed;
  });
  return { request: said[0], response: said[1] };
}

describe('proposals of a first IKE SA (RFC 7296 §3.3.1, §3.3.6)', () => {
  test('SPI Size is zero, asked and answered, even where the initiator wrote an SPI', () => {
    const { left, right } = trio();
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    const [request] = parsed(left.drain(0).map(({ data }) => data));
    expect(first(request?.payloads, 'SA')?.proposals.map(({ spi }) => spi.length)).toEqual([0]);
    const [answer] = parsed(tell(right, initMessage(initPayloads({ proposals: [{ ...IKE_PROPOSAL, number: 1, spi: freshSpi() }] }))));
    expect(first(answer?.payloads, 'SA')?.proposals.map(({ spi }) => spi.length)).toEqual([0]);
  });

  test('of many proposals one comes back, with one transform of each type', () => {
    const offered = [
      'aes256-sha256-prfsha256-ecp384',
      'aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256',
      'aes128gcm16-prfsha256-x25519',
    ];
    const proposals = offered.map((words, i) => ({ ...ikeProposal(words), number: i + 1 }));
    const [answer] = parsed(tell(trio().right, initMessage(initPayloads({ proposals }))));
    expect(first(answer?.payloads, 'SA')?.proposals).toEqual([{ ...ikeProposal('aes128gcm16-prfsha256-x25519'), number: 2 }]);
  });

  test.each([
    ['another number', { number: 2 }],
    ['a suite that was not offered', { transforms: ikeProposal('aes256gcm16-prfsha256-x25519').transforms }],
  ])('an answer with %s ends the exchange, and it is said why', (_what, changes) => {
    const world = trio();
    establish(world, (datagram, from) =>
      from === world.left
        ? datagram
        : world.meddler.rewrite(datagram, (payloads) =>
            payloads.map((p) => (p.kind === 'SA' ? { ...p, proposals: p.proposals.map((each) => ({ ...each, ...changes })) } : p)),
          ),
    );
    expect(world.left.has('ike-keys')).toEqual([]);
    expect(world.left.has('ike-down').map(({ error }) => error?.code)).toEqual(['PROPOSAL_NOT_OFFERED']);
  });
});

describe('the key exchange beside the proposals (RFC 7296 §3.3.6, §3.4)', () => {
  test('the first public value is of the first group; the next one of the group that was asked for, beside the same proposals', () => {
    const onlyP256 = { ...IKE_PROPOSAL, transforms: IKE_PROPOSAL.transforms.filter((t) => t.type !== TransformType.KE || t.id === 19) };
    const world = trio({ right: { proposals: [onlyP256] } });
    establish(world);
    const requests = parsed(world.left.sent.map(({ data }) => data)).filter(({ header }) => header.exchange === ExchangeType.IKE_SA_INIT);
    expect(requests.map(({ payloads }) => first(payloads, 'KE')?.method)).toEqual([31, 19]);
    const [before, after] = requests.map(({ payloads }) => first(payloads, 'SA')?.proposals);
    expect(before?.[0]?.transforms).toEqual(IKE_PROPOSAL.transforms);
    expect(after).toEqual(before);
  });

  test('no public value goes out for a group that the proposals do not have, though the peer ask for it', () => {
    const world = trio();
    const wanted: Payload = {
      kind: 'N',
      notify: NotifyType.INVALID_KE_PAYLOAD,
      protocol: 0,
      spi: new Uint8Array(0),
      data: Uint8Array.of(0, 20),
    };
    establish(world, (datagram, from) => (from === world.left ? datagram : world.meddler.rewrite(datagram, () => [wanted])));
    const methods = parsed(world.left.sent.map(({ data }) => data)).map(({ payloads }) => first(payloads, 'KE')?.method);
    expect(methods).toEqual([31]);
    expect(world.left.has('ike-down').map(({ error }) => error?.code)).toEqual(['KE_METHOD_REFUSED']);
  });

  test('where no proposal has a group, there is no KE payload', () => {
    const world = trio({
      left: child('left', 'aes128gcm16-x25519-noesn', 'off'),
      right: child('right', 'aes128gcm16-x25519-noesn', 'prefer'),
    });
    establish(world);
    const { request } = anotherChild(world);
    expect(
      first(request, 'SA')
        ?.proposals.flatMap(({ transforms }) => transforms)
        .filter(({ type }) => type === TransformType.KE),
    ).toEqual([]);
    expect(first(request, 'KE')).toBeUndefined();
    expect(world.right.has('child-up')).toHaveLength(2);
  });

  test('where NONE is chosen, the KE payload is ignored, whatever it holds, and none comes back', () => {
    const left = child('left', 'aes128gcm16-x25519-none-noesn', 'prefer');
    const world = trio({ left, right: child('right', 'aes128gcm16-noesn', 'off') });
    establish(world);
    const { request, response } = anotherChild(world, (payloads) =>
      payloads.map((p) => (p.kind === 'KE' ? { ...p, data: new Uint8Array(1) } : p)),
    );
    expect(first(request, 'KE')).toMatchObject({ method: 31, data: new Uint8Array(1) });
    expect(first(response, 'SA')?.proposals[0]?.transforms).toContainEqual({ type: TransformType.KE, id: 0 });
    expect(first(response, 'KE')).toBeUndefined();
    expect([world.left, world.right].map((end) => end.has('child-up').length)).toEqual([2, 2]);
  });
});

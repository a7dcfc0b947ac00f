import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/crypto/index.ts';
import { MessageWindow } from '../../../src/core/ike/message-window.ts';
import { ExchangeType, type IkeHeader, NotifyType, type Payload, parseMessage } from '../../../src/core/wire/index.ts';
import { initMessage, initPayloads, RIGHT, tell } from '../../security/support/hand-made.ts';
import { establishedSas, establishedTrio, live, type Trio, trio } from '../../security/support/life.ts';
import { connection, End, settle } from './two-ends.ts';

interface Said extends IkeHeader {
  readonly from: End;
  readonly payloads: readonly Payload[];
  readonly octets: Uint8Array;
}

/** Every message of a whole life, opened. */
function wholeLife(world: Trio): Said[] {
  const said: Said[] = [];
  live(world, (datagram, from) => {
    const { message, payloads } = world.meddler.open(datagram.data)!;
    said.push({ ...message.header, from, payloads, octets: datagram.data.slice() });
    return datagram;
  });
  return said;
}

const isOf = (notify: number) => (p: Payload) => p.kind === 'N' && p.notify === notify;
const kindsOf = (payloads: readonly Payload[]): string[] => payloads.filter((p) => p.kind !== 'N' && p.kind !== 'V').map((p) => p.kind);

/** What goes out after `act`, not delivered. */
function sent(end: End, now = 0): Uint8Array[] {
  return end.drain(now).map(({ data }) => data);
}

describe('RFC 7296 §2, requirement by requirement', () => {
  test.each([1280, 3000])('§2 a message of %i octets is sent, received and processed', (octets) => {
    const { left, right } = trio({ left: { sendCert: 'always' } });
    const { answers } = left;
    left.answers = (ask) => {
      const answer = answers(ask)!;
      return ask.kind === 'authenticate' && answer.ok
        ? { ...answer, certificates: [{ encoding: 4, data: new Uint8Array(octets).fill(0x30) }] }
        : answer;
    };
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    let largest = 0;
    settle(left, right, 0, (datagram) => {
      largest = Math.max(largest, datagram.data.length);
      return datagram;
    });
    expect(largest).toBeGreaterThan(octets);
    expect(establishedSas(right)).toHaveLength(1);
  });

  test('§2.1 every copy of a request brings one copy of the answer, and nothing else does', () => {
    const { left, right } = establishedTrio();
    left.endpoint.command({ kind: 'rekey-child', child: establishedSas(left)[0]!.children[0]!.id }, 0);
    const [request] = sent(left);
    const [answer] = tell(right, request!.slice());
    for (let copy = 0; copy < 3; copy++) expect(tell(right, request!.slice())).toEqual([answer]);
    for (let now = 1000; now < 60_000; now += 1000) {
      right.endpoint.expire(now);
      expect(sent(right, now)).toEqual([]);
    }
    expect(right.children.size).toBe(2);
  });

  test('§2.1 a request whose answer is forgotten is new to nobody, however large the window', () => {
    const window = new MessageWindow({ nextRequest: 0, nextExpected: 0, receiveSize: 4 });
    for (let id = 0; id < 6; id++) {
      window.begin(id);
      window.answer(id, [Uint8Array.of(id)]);
    }
    expect([0, 1, 2, 3, 4, 5, 6, 9, 10].map((id) => window.judge(id))).toEqual([
      ...['outside', 'outside', 'repeat', 'repeat', 'repeat', 'repeat'],
      ...['new', 'new', 'outside'],
    ]);
  });

  test('§2.2 when Message IDs grow too large the IKE SA is rekeyed, and its successor begins at 0', () => {
    const { left, right } = restoredAt(0xfff0_0000 - 1);
    for (let i = 0; i < 2; i++) {
      left.endpoint.command({ kind: 'check-liveness', ikeSa: left.endpoint.info()[0]!.id }, 0);
      settle(left, right);
    }
    left.endpoint.expire(0);
    settle(left, right);
    expect(left.has('ike-rekeyed')).toHaveLength(1);
    expect(left.endpoint.snapshot().ikeSas.map(({ nextRequest }) => nextRequest)).toEqual([0]);
  });

  test('§2.2 with the last Message ID the IKE SA is closed: none is used again', () => {
    const { left, right } = restoredAt(0xffff_ffff - 1);
    const check = (): void => void left.endpoint.command({ kind: 'check-liveness', ikeSa: left.endpoint.info()[0]!.id }, 0);
    check();
    settle(left, right);
    expect(left.endpoint.info()).toHaveLength(1);
    check();
    expect(sent(left)).toEqual([]);
    expect(left.endpoint.info()).toEqual([]);
    expect(left.has('ike-down').map(({ error }) => error?.code)).toEqual(['LIFETIME_OVER']);
  });

  test('§2.3 one request at a time, until the peer says that it takes more', () => {
    const window = new MessageWindow();
    const send = () => window.sent({ messageId: window.allocate() } as Parameters<MessageWindow['sent']>[0]);
    expect(window.hasRoom).toBe(true);
    send();
    expect(window.hasRoom).toBe(false);
    window.answered(0);
    expect(window.hasRoom).toBe(true);
    send();
    window.sendSize = 2;
    expect(window.hasRoom).toBe(true);
  });

  test('§2.3 while a request of ours waits, one of the peer is taken and answered', () => {
    const { left, right, meddler } = establishedTrio();
    left.endpoint.command({ kind: 'rekey-child', child: establishedSas(left)[0]!.children[0]!.id }, 0);
    expect(sent(left)).toHaveLength(1);
    right.endpoint.command({ kind: 'create-child', ikeSa: establishedSas(right)[0]!.id, child: 'net' }, 0);
    const [answer] = tell(left, sent(right)[0]!, 0, RIGHT);
    expect(kindsOf(meddler.open(answer!)!.payloads)).toContain('SA');
  });

  test('§2.3 a request outside of the window is not answered, by INVALID_MESSAGE_ID or otherwise', () => {
    const { left, right, meddler } = establishedTrio();
    left.endpoint.command({ kind: 'check-liveness', ikeSa: establishedSas(left)[0]!.id }, 0);
    const { header } = parseMessage(sent(left)[0]!);
    for (const messageId of [header.messageId + 1, header.messageId + 1000, 0, 0xffff_ffff]) {
      expect(tell(right, meddler.seal({ ...header, messageId }, []))).toEqual([]);
      // judged before it is opened: a forged one costs no more
      const before = right.has('drop').length;
      expect(tell(right, meddler.seal({ ...header, messageId }, []).fill(0, -1))).toEqual([]);
      expect(right.has('drop').slice(before)).toMatchObject([{ cause: 'outside-window' }]);
    }
    expect(tell(right, meddler.seal(header, []))).toHaveLength(1);
  });

  test('§2.4 INITIAL_CONTACT is said in the first IKE_AUTH request and nowhere else', () => {
    const saying = wholeLife(trio()).filter(({ payloads }) => payloads.some(isOf(NotifyType.INITIAL_CONTACT)));
    expect(saying.map(({ exchange, messageId, flags }) => [exchange, messageId, flags.response])).toEqual([
      [ExchangeType.IKE_AUTH, 1, false],
    ]);
  });

  test('§2.4 whoever shares an identity with others (unique: never) says no INITIAL_CONTACT', () => {
    const saying = wholeLife(trio({ left: { unique: 'never' } })).filter(({ payloads }) => payloads.some(isOf(NotifyType.INITIAL_CONTACT)));
    expect(saying).toEqual([]);
  });

  test.each([0x30, 0xf0])('§2.5 version octet %i: dropped, and INVALID_MAJOR_VERSION names 2.0', (version) => {
    const right = new End({ connections: [connection('right')] });
    const [answer, ...more] = tell(right, initMessage(initPayloads()).with(17, version));
    expect(more).toEqual([]);
    const { header, payloads } = parseMessage(answer!);
    expect([header.majorVersion, header.minorVersion, header.flags.response]).toEqual([2, 0, true]);
    expect(payloads).toMatchObject([{ kind: 'N', notify: NotifyType.INVALID_MAJOR_VERSION }]);
    expect(right.endpoint.info()).toEqual([]);
  });

  test('§2.5 whatever minor version comes, every message of ours says 2.0', () => {
    const world = trio();
    const versions = new Set<number | undefined>();
    live(world, (datagram, from) => {
      versions.add(datagram.data[17]);
      if (from === world.right || datagram.data[18] === ExchangeType.IKE_SA_INIT) return datagram;
      return {
        ...datagram,
        data: world.meddler.seal(
          { ...world.meddler.open(datagram.data)!.message.header, minorVersion: 7 },
          world.meddler.open(datagram.data)!.payloads,
        ),
      };
    });
    const right = new End({ connections: [connection('right')] });
    for (const answer of tell(right, initMessage(initPayloads({ proposals: [] }).slice(1)).with(17, 0x27))) versions.add(answer[17]);
    expect([...versions]).toEqual([0x20]);
  });

  test('§2.5 no payload of ours has the critical bit, nor any reserved bit, whatever the request has', () => {
    const world = trio();
    const said: Said[] = [];
    live(world, (datagram, from) => {
      const { message, payloads } = world.meddler.open(datagram.data)!;
      said.push({ ...message.header, from, payloads, octets: datagram.data.slice() });
      if (from === world.right || message.header.exchange === ExchangeType.IKE_SA_INIT) return datagram;
      return world.meddler.rewrite(datagram, (all) => all.map((p) => ({ ...p, critical: true })));
    });
    expect(new Set(said.map(({ exchange }) => exchange)).size).toBe(4);
    expect(said.flatMap(({ payloads }) => payloads.filter((p) => p.critical === true))).toEqual([]);
    // flags, and the second octet of the first payload header
    for (const { octets } of said) expect([octets[19]! & ~0x28, octets[29]]).toEqual([0, 0]);
  });

  test('§2.5 payloads are sent in the order of the figures', () => {
    const figures: Readonly<Record<number, readonly string[]>> = {
      [ExchangeType.IKE_SA_INIT]: ['SA', 'KE', 'Nonce', 'CERTREQ'],
      [ExchangeType.IKE_AUTH]: ['IDi', 'IDr', 'CERT', 'CERTREQ', 'IDr', 'AUTH', 'CP', 'SA', 'TSi', 'TSr'],
      [ExchangeType.CREATE_CHILD_SA]: ['SA', 'Nonce', 'KE', 'TSi', 'TSr'],
      [ExchangeType.INFORMATIONAL]: ['D', 'CP'],
    };
    for (const { exchange, payloads } of wholeLife(trio())) {
      let at = 0;
      for (const kind of kindsOf(payloads)) {
        const next = figures[exchange]!.indexOf(kind, at);
        expect(next, `${kind} in ${kindsOf(payloads).join()}`).toBeGreaterThanOrEqual(at);
        at = next;
      }
    }
  });

  /** Two ends of an IKE SA that has gone on for so many requests. */
  function restoredAt(nextRequest: number): { left: End; right: End } {
    const before = establishedTrio();
    const again = (side: 'left' | 'right'): End => {
      const end = new End({ connections: [connection(side)], random: systemRandom() });
      const { ikeSas, ...rest } = before[side].endpoint.snapshot();
      const moved = side === 'left' ? { nextRequest } : { nextExpected: nextRequest, answers: [] };
      end.endpoint.restore({ ...rest, ikeSas: ikeSas.map((sa) => ({ ...sa, ...moved })) }, 0);
      return end;
    };
    const ends = { left: again('left'), right: again('right') };
    settle(ends.left, ends.right);
    return ends;
  }
});

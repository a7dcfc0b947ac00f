import assert from 'node:assert/strict';
import { concat, toHex } from '../../../src/core/bytes/index.ts';
import { createPacketCipher } from '../../../src/core/crypto/index.ts';
import type { Command } from '../../../src/core/ike/effects.ts';
import type { EndpointSnapshot } from '../../../src/core/ike/index.ts';
import { ExchangeType, openMessage, PayloadType, parseMessage } from '../../../src/core/wire/index.ts';
import { scriptedRandom } from '../../../src/testing/index.ts';
import { connection, End, settle } from '../../core/ike/two-ends.ts';
import type { FuzzTarget } from '../engine.ts';

/**
 * A living endpoint. Each input meets the same one: an IKE SA with a child, restored from a snapshot, so that a single file repeats a
 * crash. `left` is the attacker, or the authenticated peer who misbehaves; `right` is under test.
 */
export const endpointTargets: readonly FuzzTarget[] = [
  {
    name: 'endpoint, datagrams of strangers',
    seeds: () => recording().handshake,
    run: (input) => {
      const right = restored();
      const before = right.endpoint.info();
      right.endpoint.receive({ ...fromLeft, data: input }, NOW);
      assert.ok(right.drain(NOW).length <= 1, 'one datagram of a stranger draws at most one');
      const after = right.endpoint.info().find((sa) => toHex(sa.spiI) === toHex(before[0]!.spiI));
      assert.equal(after?.state, 'established', 'an IKE SA outlives whatever a stranger sends');
      assert.equal(after?.children.length, 1);
      assert.ok(right.endpoint.info().length <= 2, 'one datagram begins at most one IKE SA');
      comesToRest(right);
    },
  },
  {
    name: 'endpoint, answers to IKE_SA_INIT',
    seeds: () => recording().handshake.slice(1, 2),
    run: (input) => {
      const left = new End({ connections: [connection('left')], random: random('left') });
      left.endpoint.command({ kind: 'initiate', connection: 'net' }, NOW);
      left.drain(NOW);
      left.endpoint.receive({ local: fromLeft.remote, remote: fromLeft.local, encap: false, data: input }, NOW);
      left.drain(NOW);
      comesToRest(left);
    },
  },
  {
    // First octet: which exchange. Second: type of the first payload. Then the payloads, under real keys.
    name: 'endpoint, requests of an authenticated peer',
    seeds: () => recording().requests,
    run: (input) => {
      const right = restored();
      const exchange = EXCHANGES[(input[0] ?? 0) % EXCHANGES.length]!;
      right.endpoint.receive({ ...fromLeft, data: sealed(exchange, false, nextExpected(), input) }, NOW);
      assert.ok(right.drain(NOW).length <= MOST_DATAGRAMS, 'a request draws an answer, not a flood');
      comesToRest(right);
    },
  },
  {
    // First octet: what we had asked for.
    name: 'endpoint, answers of an authenticated peer',
    seeds: () => recording().answers,
    run: (input) => {
      const right = restored();
      const { exchange, command } = OUR_REQUESTS[(input[0] ?? 0) % OUR_REQUESTS.length]!;
      right.endpoint.command(command(right), NOW);
      right.drain(NOW);
      right.endpoint.receive({ ...fromLeft, data: sealed(exchange, true, snapshotOfRight().nextRequest, input) }, NOW);
      assert.ok(right.drain(NOW).length <= MOST_DATAGRAMS, 'an answer draws at most the next request');
      comesToRest(right);
    },
  },
];

/** IKE_SA_INIT and IKE_AUTH of two ends that behave. */
export const handshakeDatagrams = (): readonly Uint8Array[] => recording().handshake;

/** Everything that was promised to happen happens, and then nothing more: no timer arms itself for ever. */
function comesToRest(end: End): void {
  let now = NOW;
  for (let round = 0; round < MOST_TIMERS; round++) {
    const deadline = end.endpoint.nextDeadline();
    if (deadline === undefined) return;
    now = Math.max(now, deadline);
    end.endpoint.expire(now);
    end.drain(now);
  }
  assert.fail(`still busy after ${MOST_TIMERS} deadlines`);
}

interface Recording {
  readonly snapshot: EndpointSnapshot;
  readonly handshake: readonly Uint8Array[];
  /** Exchange, first payload type, plaintext: of what left asked, and of what it answered. */
  readonly requests: readonly Uint8Array[];
  readonly answers: readonly Uint8Array[];
}

let recorded: Recording | undefined;

function recording(): Recording {
  recorded ??= record();
  return recorded;
}

/** Two lives of two ends that behave, equal octet by octet up to the snapshot: in one left asks for everything, in the other right does. */
function record(): Recording {
  const { right, handshake } = pair();
  const snapshot = right.endpoint.snapshot();
  const requests = insides(snapshot, 'left');
  const answers = insides(snapshot, 'right');
  return { snapshot, handshake, requests, answers };
}

function pair(): { left: End; right: End; handshake: Uint8Array[] } {
  const left = new End({ connections: [connection('left')], random: random('left') });
  const right = new End({ connections: [connection('right')], random: random('right') });
  const handshake: Uint8Array[] = [];
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, NOW);
  settle(left, right, NOW, (datagram) => {
    handshake.push(datagram.data.slice());
    return datagram;
  });
  return { left, right, handshake };
}

/** What left sends while this side asks for one thing after the other: requests when it is left, else answers. */
function insides(snapshot: EndpointSnapshot, asking: 'left' | 'right'): Uint8Array[] {
  const { left, right } = pair();
  const by = asking === 'left' ? left : right;
  const found: Uint8Array[] = [];
  OUR_REQUESTS.forEach(({ command }, number) => {
    by.endpoint.command(command(by), NOW);
    settle(left, right, NOW, (datagram, from) => {
      const message = parseMessage(datagram.data);
      const opened =
        from === left && message.header.flags.response === (asking === 'right') ? openMessage(message, cipherOf(snapshot)) : undefined;
      const first = asking === 'right' ? number : EXCHANGES.indexOf(message.header.exchange);
      if (opened) found.push(concat(Uint8Array.of(first, opened.inner), opened.plaintext));
      return datagram;
    });
  });
  return found;
}

function restored(): End {
  const end = new End({ connections: [connection('right')], random: random('restored') });
  end.endpoint.restore(recording().snapshot, NOW);
  end.drain(NOW);
  return end;
}

/** An SK message of left's under the keys of the recorded IKE SA; octets from the third on are its inside. */
function sealed(exchange: number, response: boolean, messageId: number, input: Uint8Array): Uint8Array {
  const { spiI, spiR } = snapshotOfRight();
  const cipher = cipherOf(recording().snapshot);
  const inside = input.subarray(2, MOST_INSIDE);
  const length = 4 + cipher.ivLength + inside.length + 1 + cipher.icvLength;
  const total = 28 + length;
  const header = Uint8Array.of(PayloadType.SK, 0x20, exchange, response ? 0x28 : 0x08, ...u32(messageId), ...u32(total));
  const generic = Uint8Array.of(input[1] ?? 0, 0, length >> 8, length & 0xff);
  const message = concat(spiI, spiR, header, generic, new Uint8Array(cipher.ivLength), inside, new Uint8Array(1 + cipher.icvLength));
  cipher.seal(message, 0, 32, total - cipher.icvLength);
  return message;
}

function cipherOf(snapshot: EndpointSnapshot) {
  const { suite, SK_ei, SK_ai } = snapshot.ikeSas[0]!.keys;
  return createPacketCipher({
    encryption: suite.encryption,
    keyLength: suite.keyLength,
    encryptionKey: SK_ei,
    integrity: suite.integrity,
    integrityKey: SK_ai,
  });
}

const snapshotOfRight = () => recording().snapshot.ikeSas[0]!;
const nextExpected = (): number => snapshotOfRight().nextExpected;
const random = (label: string) => scriptedRandom(`2906 ${label}`);
const u32 = (value: number): number[] => [value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff];
const firstSa = (end: End) => end.endpoint.info().find((sa) => sa.state === 'established')!;

const OUR_REQUESTS: readonly { readonly exchange: number; readonly command: (end: End) => Command }[] = [
  { exchange: ExchangeType.INFORMATIONAL, command: (end) => ({ kind: 'check-liveness', ikeSa: firstSa(end).id }) },
  { exchange: ExchangeType.CREATE_CHILD_SA, command: (end) => ({ kind: 'create-child', ikeSa: firstSa(end).id, child: 'net' }) },
  { exchange: ExchangeType.CREATE_CHILD_SA, command: (end) => ({ kind: 'rekey-child', child: firstSa(end).children[0]!.id }) },
  { exchange: ExchangeType.INFORMATIONAL, command: (end) => ({ kind: 'delete-child', child: firstSa(end).children[0]!.id }) },
  { exchange: ExchangeType.CREATE_CHILD_SA, command: (end) => ({ kind: 'rekey-ike', ikeSa: firstSa(end).id }) },
];
const EXCHANGES: readonly number[] = [
  ExchangeType.INFORMATIONAL,
  ExchangeType.CREATE_CHILD_SA,
  ExchangeType.IKE_AUTH,
  ExchangeType.IKE_SA_INIT,
  ExchangeType.IKE_INTERMEDIATE,
  99,
];

const NOW = 1000;
const MOST_DATAGRAMS = 16;
const MOST_TIMERS = 300;
const MOST_INSIDE = 60_000;
const fromLeft = { local: { ip: '192.0.2.2', port: 500 }, remote: { ip: '192.0.2.1', port: 500 }, encap: false };

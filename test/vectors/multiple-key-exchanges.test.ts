import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex, utf8 } from '../../src/core/bytes/index.ts';
import { keyExchange, type PacketCipher, prf, pskAuth } from '../../src/core/crypto/index.ts';
import { Reassembly } from '../../src/core/ike/fragments.ts';
import { IntAuth } from '../../src/core/ike/int-auth.ts';
import { childKeys, type IkeKeys, type IkeSuite, ikeCipher, initialKeys, type Nonces, rekeyedKeys } from '../../src/core/ike/keys.ts';
import { acceptIke } from '../../src/core/ike/proposals.ts';
import { signedOctets } from '../../src/core/ike/signed-octets.ts';
import { headOf, octetsOfReceived, octetsOfSent } from '../../src/core/wire/authenticated-octets.ts';
import {
  ExchangeType,
  type Message,
  openFragment,
  openMessage,
  type Payload,
  type PayloadOf,
  parseMessage,
  parseProtected,
  sealFragments,
} from '../../src/core/wire/index.ts';

/** What strongSwan did, message by message and key by key: our derivations have to find the same. */
interface Recording {
  readonly origin: string;
  readonly psk: string;
  /** Each IKE message, request and response in turn. */
  readonly messages: readonly string[];
  /** After IKE_SA_INIT, after each IKE_INTERMEDIATE, after the rekeying. */
  readonly ike: readonly (Record<'SK_d' | 'SK_ai' | 'SK_ar' | 'SK_ei' | 'SK_er' | 'SK_pi' | 'SK_pr', string> & {
    readonly sharedSecrets: readonly string[];
  })[];
  /** IntAuth_i1, IntAuth_r1, IntAuth_i2, … */
  readonly intAuth: readonly string[];
  readonly children: readonly { readonly sharedSecrets: readonly string[]; readonly initiatorKey: string; readonly responderKey: string }[];
}

const recording = JSON.parse(readFileSync(new URL('multiple-key-exchanges.json', import.meta.url), 'utf8')) as Recording;
const messages = recording.messages.map((hex) => parseMessage(fromHex(hex)));
const NAMES = ['SK_d', 'SK_ai', 'SK_ar', 'SK_ei', 'SK_er', 'SK_pi', 'SK_pr'] as const;

const exchanged = (exchange: number): [Message, Message][] =>
  messages.flatMap((message, i) =>
    message.header.exchange === exchange && !message.header.flags.response ? [[message, messages[i + 1]!]] : [],
  );
const find = <K extends Payload['kind']>(payloads: readonly Payload[], kind: K): PayloadOf<K> =>
  payloads.find((p) => p.kind === kind) as PayloadOf<K>;
const noncesOf = (request: readonly Payload[], response: readonly Payload[]): Nonces => ({
  Ni: find(request, 'Nonce').data,
  Nr: find(response, 'Nonce').data,
});
const hexOf = (keys: IkeKeys): Record<string, string> => Object.fromEntries(NAMES.map((name) => [name, toHex(keys[name])]));
const secretsOf = (entry: { readonly sharedSecrets: readonly string[] }): Uint8Array[] => entry.sharedSecrets.map(fromHex);
const expected = (i: number): Record<string, string> => {
  const { sharedSecrets: _, ...keys } = recording.ike[i]!;
  return keys;
};

const [init, initResponse] = exchanged(ExchangeType.IKE_SA_INIT)[0]!;
const { spiI, spiR } = initResponse.header;
const nonces = noncesOf(init.payloads, initResponse.payloads);
const suite: IkeSuite = acceptIke(find(init.payloads, 'SA').proposals, find(initResponse.payloads, 'SA').proposals)!.suite;

/** The keys of the first IKE SA: after IKE_SA_INIT, and after each IKE_INTERMEDIATE. */
function generations(): IkeKeys[] {
  const [first, ...others] = recording.ike.slice(0, 3);
  const keys = [initialKeys(suite, secretsOf(first!)[0]!, nonces, { spiI, spiR })];
  for (const entry of others) keys.push(rekeyedKeys(keys.at(-1)!, suite, secretsOf(entry), nonces, { spiI, spiR }));
  return keys;
}

const cipherOf = (keys: IkeKeys, { header }: Message): PacketCipher => ikeCipher(keys, header.flags.initiator ? 'initiator' : 'responder');
const open = (keys: IkeKeys, message: Message) => openMessage(message, cipherOf(keys, message))!;

describe(`several key exchanges for one SA (RFC 9242, RFC 9370): ${recording.origin.slice(0, 27)}`, () => {
  test('the suite', () => {
    expect(suite).toEqual({
      encryption: 12,
      keyLength: 256,
      integrity: 13,
      prf: 6,
      keyExchange: 20,
      additional: [
        { type: 6, method: 35 },
        { type: 8, method: 31 },
      ],
    });
  });

  test('SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr): all seven keys after each exchange', () => {
    generations().forEach((keys, i) => {
      expect(hexOf(keys)).toEqual(expected(i));
    });
  });

  test('IntAuth after each exchange, of messages as they are before encryption, and AUTH of both ends', () => {
    const keys = generations();
    const intAuth = new IntAuth();
    exchanged(ExchangeType.IKE_INTERMEDIATE).forEach(([request, response], i) => {
      const [asked, answered] = [request, response].map((m) => octetsOfReceived(headOf(m), open(keys[i]!, m).plaintext));
      intAuth.add(keys[i]!, asked!, answered!, true);
      const octets = toHex(intAuth.octets);
      expect(octets).toBe(recording.intAuth[2 * i]! + recording.intAuth[2 * i + 1]! + (i + 2).toString(16).padStart(8, '0'));
    });
    const last = keys.at(-1)!;
    const material = { initRequest: init.raw, initResponse: initResponse.raw, nonces, intAuth };
    const [request, response] = exchanged(ExchangeType.IKE_AUTH)[0]!.map((m) => open(last, m).payloads);
    for (const [role, id, payloads] of [
      ['initiator', find(request!, 'IDi'), request!],
      ['responder', find(response!, 'IDr'), response!],
    ] as const) {
      const octets = signedOctets(role, last, material, id);
      expect(toHex(pskAuth(prf(suite.prf)!, utf8(recording.psk), octets))).toBe(toHex(find(payloads, 'AUTH').data));
      // without what went before, AUTH is another one
      const short = signedOctets(role, last, { ...material, intAuth: new IntAuth() }, id);
      expect(toHex(pskAuth(prf(suite.prf)!, utf8(recording.psk), short))).not.toBe(toHex(find(payloads, 'AUTH').data));
    }
  });

  test('what is covered does not depend on how a message travels: whole, in fragments of any size, or not sent yet', () => {
    const keys = generations();
    for (const [i, pair] of exchanged(ExchangeType.IKE_INTERMEDIATE).entries()) {
      for (const message of pair) {
        const { payloads, plaintext } = open(keys[i]!, message);
        const whole = octetsOfReceived(headOf(message), plaintext);
        expect(octetsOfSent(message.header, payloads)).toEqual(whole);
        for (const size of [200, 333, 576]) {
          const cipher = cipherOf(keys[i]!, message);
          const pieces = sealFragments(message.header, payloads, { cipher, iv: (length) => new Uint8Array(length) }, size).map(
            parseMessage,
          );
          const set = new Reassembly();
          // the last one first
          const made = pieces.reverse().map((piece) => {
            const last = piece.payloads.at(-1)!;
            if (last.kind !== 'SKF') throw new Error('no fragment');
            return set.add(1, { fragment: last.fragment, total: last.total, head: headOf(piece), ...openFragment(piece, cipher)! }, 0);
          });
          const { inner, plaintext: joined, head } = made.at(-1)!;
          expect(parseProtected(inner, joined)).toEqual(payloads);
          expect(octetsOfReceived(head!, joined)).toEqual(whole);
        }
      }
    }
  });

  test('payloads in clear before a fragment are covered, and point to an Encrypted payload', () => {
    const keys = generations();
    const message = exchanged(ExchangeType.IKE_INTERMEDIATE)[0]![0];
    const { payloads } = open(keys[0]!, message);
    const cipher = cipherOf(keys[0]!, message);
    const clear: Payload[] = [
      { kind: 'V', data: Uint8Array.of(1, 2, 3) },
      { kind: 'V', data: Uint8Array.of(4) },
    ];
    const [first] = sealFragments(message.header, payloads, { cipher, iv: (length) => new Uint8Array(length) }, 400, clear).map(
      parseMessage,
    );
    const head = headOf(first!);
    expect(head[16]).toBe(43);
    // header, two V payloads, the generic header of SK
    expect([head[28], head[35], head.length]).toEqual([43, 46, 28 + 7 + 5 + 4]);
  });

  test('KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1)) of the rekeyed child, without secrets of the first', () => {
    const last = generations().at(-1)!;
    const esp = { protocol: 'ESP', encryption: 20, keyLength: 128, integrity: 0, esn: false, keyExchange: 0 } as const;
    const [request, response] = exchanged(ExchangeType.CREATE_CHILD_SA)[0]!.map((m) => open(last, m).payloads);
    for (const [entry, ofExchange] of [
      [recording.children[0]!, nonces],
      [recording.children[1]!, noncesOf(request!, response!)],
    ] as const) {
      const keys = childKeys(last, esp, ofExchange, secretsOf(entry));
      expect(toHex(keys.initiator.encryptionKey)).toBe(entry.initiatorKey);
      expect(toHex(keys.responder.encryptionKey)).toBe(entry.responderKey);
    }
  });

  test('SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | SK(2)) of the rekeyed IKE SA', () => {
    const last = generations().at(-1)!;
    const [request, response] = exchanged(ExchangeType.CREATE_CHILD_SA)[1]!.map((m) => open(last, m).payloads);
    const spis = { spiI: find(request!, 'SA').proposals[0]!.spi, spiR: find(response!, 'SA').proposals[0]!.spi };
    expect(hexOf(rekeyedKeys(last, suite, secretsOf(recording.ike[3]!), noncesOf(request!, response!), spis))).toEqual(expected(3));
  });

  test('each IKE_FOLLOWUP_KE carries the link of the answer before it, and the last answer none', () => {
    const last = generations().at(-1)!;
    const linkOf = (message: Message): string | undefined => {
      const link = open(last, message).payloads.find((p) => p.kind === 'N' && p.notify === 16441);
      return link?.kind === 'N' ? toHex(link.data) : undefined;
    };
    const rekeyings = messages.filter(({ header }) =>
      [ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_FOLLOWUP_KE].includes(header.exchange as 36),
    );
    const links = rekeyings.map(linkOf);
    expect(links.map((link) => link !== undefined)).toEqual([false, true, true, false, false, true, true, true, true, false]);
    expect([links[2], links[6], links[8]]).toEqual([links[1], links[5], links[7]]);
  });

  test('the public values have the lengths that the methods state', () => {
    const keys = generations();
    for (const [i, [request, response]] of exchanged(ExchangeType.IKE_INTERMEDIATE).entries()) {
      const method = keyExchange(suite.additional![i]!.method)!;
      expect(find(open(keys[i]!, request).payloads, 'KE').data.length).toBe(method.initiatorLength);
      expect(find(open(keys[i]!, response).payloads, 'KE').data.length).toBe(method.responderLength);
    }
  });
});

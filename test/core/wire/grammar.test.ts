import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/bytes.ts';
import { PeerViolation } from '../../../src/core/bytes/errors.ts';
import { MESSAGE_FORMS, type MessageForm } from '../../../src/core/wire/forms.ts';
import { checkMessage, formOf, printGrammar } from '../../../src/core/wire/grammar.ts';
import type { IkeHeader } from '../../../src/core/wire/header.ts';
import { ExchangeType, NotifyType, ProtocolId } from '../../../src/core/wire/iana.ts';
import type { PayloadKind } from '../../../src/core/wire/payload.ts';
import { PAYLOADS } from '../../../src/core/wire/payloads/index.ts';
import type { Payload } from '../../../src/core/wire/payloads/types.ts';
import { forSeeds, gen } from '../../support/gen.ts';

const sa = (protocol: number): Payload => ({ kind: 'SA', proposals: [{ number: 1, protocol, spi: new Uint8Array(0), transforms: [] }] });
const n = (notify: number, protocol = 0): Payload => ({ kind: 'N', notify, protocol, spi: new Uint8Array(0), data: new Uint8Array(0) });
const sample = <K extends PayloadKind>(kind: K): Payload => PAYLOADS.find(({ notation }) => notation === kind)!.sample(gen(1));

const IKE_SA = sa(ProtocolId.IKE);
const ESP_SA = sa(ProtocolId.ESP);
const KE = sample('KE');
const NONCE: Payload = { kind: 'Nonce', data: new Uint8Array(32) };
const [IDi, IDr, CERT, CERTREQ, AUTH, CP, EAP, TSi, TSr, D, V] = (
  ['IDi', 'IDr', 'CERT', 'CERTREQ', 'AUTH', 'CP', 'EAP', 'TSi', 'TSr', 'D', 'V'] as const
).map(sample) as [Payload, Payload, Payload, Payload, Payload, Payload, Payload, Payload, Payload, Payload, Payload];
const REKEY = n(NotifyType.REKEY_SA, ProtocolId.ESP);

function header(exchange: number, response = false): IkeHeader {
  return {
    spiI: new Uint8Array(8),
    spiR: new Uint8Array(8),
    majorVersion: 2,
    minorVersion: 0,
    exchange,
    flags: { initiator: !response, response, version: false },
    messageId: 0,
  };
}

const request = (exchange: number): IkeHeader => header(exchange);
const response = (exchange: number): IkeHeader => header(exchange, true);

/** A message of every form, and what of it may not be left out. */
const { IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, IKE_SESSION_RESUME, IKE_INTERMEDIATE, IKE_FOLLOWUP_KE } = ExchangeType;
const FORMS: Readonly<Record<MessageForm, { header: IkeHeader; payloads: Payload[]; required: Payload[] }>> = {
  'IKE_SA_INIT request': {
    header: request(IKE_SA_INIT),
    payloads: [n(NotifyType.COOKIE), IKE_SA, KE, NONCE, V],
    required: [IKE_SA, KE, NONCE],
  },
  'IKE_SA_INIT response': { header: response(IKE_SA_INIT), payloads: [IKE_SA, KE, NONCE, CERTREQ, CERTREQ], required: [IKE_SA, KE, NONCE] },
  'IKE_SA_INIT refusal': { header: response(IKE_SA_INIT), payloads: [n(NotifyType.INVALID_KE_PAYLOAD), V], required: [] },
  'IKE_SESSION_RESUME request': { header: request(IKE_SESSION_RESUME), payloads: [NONCE, n(NotifyType.TICKET_OPAQUE)], required: [NONCE] },
  'IKE_SESSION_RESUME response': { header: response(IKE_SESSION_RESUME), payloads: [NONCE], required: [NONCE] },
  'IKE_SESSION_RESUME refusal': { header: response(IKE_SESSION_RESUME), payloads: [n(NotifyType.TICKET_NACK)], required: [] },
  'IKE_INTERMEDIATE request': { header: request(IKE_INTERMEDIATE), payloads: [KE], required: [] },
  'IKE_INTERMEDIATE response': { header: response(IKE_INTERMEDIATE), payloads: [KE], required: [] },
  'IKE_AUTH request': {
    header: request(IKE_AUTH),
    payloads: [IDi, CERT, CERT, CERTREQ, IDr, AUTH, CP, ESP_SA, TSi, TSr],
    required: [IDi, ESP_SA, TSi, TSr],
  },
  'IKE_AUTH request, EAP round': { header: request(IKE_AUTH), payloads: [EAP], required: [] },
  'IKE_AUTH request, after EAP': { header: request(IKE_AUTH), payloads: [AUTH], required: [] },
  'IKE_AUTH response': {
    header: response(IKE_AUTH),
    payloads: [IDr, CERT, AUTH, CP, ESP_SA, TSi, TSr],
    required: [AUTH, ESP_SA, TSi, TSr],
  },
  'IKE_AUTH response, EAP round': { header: response(IKE_AUTH), payloads: [IDr, CERT, AUTH, EAP], required: [] },
  'IKE_AUTH response, after EAP': { header: response(IKE_AUTH), payloads: [AUTH, CP, ESP_SA, TSi, TSr], required: [ESP_SA, TSi, TSr] },
  'IKE_AUTH refusal': { header: response(IKE_AUTH), payloads: [n(NotifyType.AUTHENTICATION_FAILED)], required: [] },
  'CREATE_CHILD_SA request, new CHILD_SA': {
    header: request(CREATE_CHILD_SA),
    payloads: [CP, ESP_SA, NONCE, KE, TSi, TSr],
    required: [ESP_SA, NONCE, TSi, TSr],
  },
  'CREATE_CHILD_SA request, rekey CHILD_SA': {
    header: request(CREATE_CHILD_SA),
    payloads: [REKEY, ESP_SA, NONCE, KE, TSi, TSr],
    required: [ESP_SA, NONCE, TSi, TSr],
  },
  'CREATE_CHILD_SA request, rekey IKE SA': { header: request(CREATE_CHILD_SA), payloads: [IKE_SA, NONCE, KE], required: [NONCE, KE] },
  'CREATE_CHILD_SA response, CHILD_SA': {
    header: response(CREATE_CHILD_SA),
    payloads: [ESP_SA, NONCE, KE, TSi, TSr],
    required: [ESP_SA, NONCE, TSi, TSr],
  },
  'CREATE_CHILD_SA response, IKE SA': { header: response(CREATE_CHILD_SA), payloads: [IKE_SA, NONCE, KE], required: [NONCE, KE] },
  'CREATE_CHILD_SA refusal': { header: response(CREATE_CHILD_SA), payloads: [n(NotifyType.TEMPORARY_FAILURE)], required: [] },
  'IKE_FOLLOWUP_KE request': { header: request(IKE_FOLLOWUP_KE), payloads: [KE, n(NotifyType.ADDITIONAL_KEY_EXCHANGE)], required: [KE] },
  'IKE_FOLLOWUP_KE response': { header: response(IKE_FOLLOWUP_KE), payloads: [KE], required: [KE] },
  'IKE_FOLLOWUP_KE refusal': { header: response(IKE_FOLLOWUP_KE), payloads: [n(NotifyType.STATE_NOT_FOUND)], required: [] },
  'INFORMATIONAL request': { header: request(INFORMATIONAL), payloads: [D, D, CP, n(NotifyType.COOKIE2)], required: [] },
  'INFORMATIONAL response': { header: response(INFORMATIONAL), payloads: [], required: [] },
};

function violation(head: IkeHeader, payloads: readonly Payload[]): PeerViolation {
  try {
    checkMessage(head, payloads);
  } catch (error) {
    if (error instanceof PeerViolation) return error;
    throw error;
  }
  return expect.unreachable(`accepted: ${payloads.map(({ kind }) => kind).join(', ')}`);
}

describe.each(MESSAGE_FORMS)('%s', (form) => {
  const { header: head, payloads, required } = FORMS[form];

  test('is recognised, and holds', () => {
    expect(formOf(head, payloads)).toBe(form);
    expect(() => checkMessage(head, payloads)).not.toThrow();
  });

  test('holds in any order (RFC 7296 §2.5)', () => {
    forSeeds(20, (g) => {
      const shuffled = payloads.map((payload) => ({ payload, key: g.u32() })).sort((a, b) => a.key - b.key);
      expect(() =>
        checkMessage(
          head,
          shuffled.map(({ payload }) => payload),
        ),
      ).not.toThrow();
    });
  });

  test('holds among notifies, vendor ids and payloads nobody knows', () => {
    const extra: Payload[] = [n(40_999), n(40_999), V, V, { kind: 'unknown', type: 200, data: new Uint8Array(3), critical: true }];
    expect(() => checkMessage(head, [...extra, ...payloads, ...extra])).not.toThrow();
  });

  test.each(required.map((payload) => [payload.kind, payload] as const))('is refused without %s', (_, missing) => {
    const rest = payloads.filter((payload) => payload !== missing);
    expect(violation(head, rest)).toMatchObject({ code: 'INVALID_SYNTAX', notify: 7 });
  });

  test('is refused with a payload twice that may stand once, or with one that has no place', () => {
    const kinds = new Set(payloads.map(({ kind }) => kind));
    for (const { notation } of PAYLOADS) {
      if (notation === 'SK' || notation === 'SKF') continue;
      const doubled = [...payloads, sample(notation), sample(notation)];
      const repeatable = ['N', 'V', 'CERT', 'CERTREQ', 'D'].includes(notation);
      if (repeatable && kinds.has(notation)) expect(() => checkMessage(head, doubled)).not.toThrow();
      else if (!repeatable) expect(violation(head, doubled).section).toMatch(/^RFC \d+ /);
    }
  });
});

describe('what the forms cannot say', () => {
  test('KE and Nonce may change places in IKE_SA_INIT', () => {
    expect(() => checkMessage(request(IKE_SA_INIT), [NONCE, KE, IKE_SA])).not.toThrow();
  });

  test('a childless IKE_AUTH has neither SA nor selectors (RFC 6023); one or two of them are no CHILD_SA', () => {
    expect(() => checkMessage(request(IKE_AUTH), [IDi, AUTH])).not.toThrow();
    expect(() => checkMessage(response(IKE_AUTH), [IDr, AUTH])).not.toThrow();
    for (const part of [[ESP_SA], [TSi], [ESP_SA, TSi], [TSi, TSr], [ESP_SA, TSr]]) {
      expect(violation(request(IKE_AUTH), [IDi, AUTH, ...part]).message).toMatch(/missing beside the rest of SA, TSi, TSr/);
    }
  });

  test('an IKE_AUTH response may say that only the CHILD_SA failed (RFC 7296 §1.2)', () => {
    expect(() => checkMessage(response(IKE_AUTH), [IDr, AUTH, n(NotifyType.TS_UNACCEPTABLE)])).not.toThrow();
  });

  test('an initiator that sends no AUTH asks for EAP (RFC 7296 §2.16)', () => {
    expect(() => checkMessage(request(IKE_AUTH), [IDi, ESP_SA, TSi, TSr])).not.toThrow();
    expect(violation(response(IKE_AUTH), [IDr, ESP_SA, TSi, TSr]).message).toBe('IKE_AUTH response: AUTH is missing');
  });

  test('whoever knows that EAP was not spoken says so, and misses the IDr', () => {
    const payloads = [AUTH, ESP_SA, TSi, TSr];
    expect(() => checkMessage(response(IKE_AUTH), payloads)).not.toThrow();
    expect(() => checkMessage(response(IKE_AUTH), payloads, 'IKE_AUTH response')).toThrow('IKE_AUTH response: IDr is missing');
  });

  test('a responder may leave AUTH to EAP (RFC 5998)', () => {
    expect(() => checkMessage(response(IKE_AUTH), [IDr, EAP])).not.toThrow();
  });

  test('MikroTik asks for its configuration when it rekeys a CHILD_SA', () => {
    expect(() => checkMessage(request(CREATE_CHILD_SA), [REKEY, CP, ESP_SA, NONCE, TSi, TSr])).not.toThrow();
  });

  test('rekeying the IKE SA takes no selectors, making a CHILD_SA does', () => {
    expect(violation(request(CREATE_CHILD_SA), [IKE_SA, NONCE, KE, TSi, TSr]).message).toBe(
      'CREATE_CHILD_SA request, rekey IKE SA: TSi has no place in it',
    );
    expect(violation(request(CREATE_CHILD_SA), [ESP_SA, NONCE, KE]).message).toBe('CREATE_CHILD_SA request, new CHILD_SA: TSi is missing');
    expect(violation(request(CREATE_CHILD_SA), [NONCE, KE]).message).toBe('CREATE_CHILD_SA request, rekey IKE SA: SA is missing');
    expect(violation(request(CREATE_CHILD_SA), [REKEY, NONCE]).message).toBe('CREATE_CHILD_SA request, rekey CHILD_SA: SA is missing');
  });

  test('an answer that holds only status notifies refuses nothing, and lacks everything', () => {
    expect(violation(response(IKE_SA_INIT), [n(NotifyType.NAT_DETECTION_SOURCE_IP)]).message).toBe('IKE_SA_INIT response: SA is missing');
    expect(violation(response(IKE_AUTH), []).message).toBe('IKE_AUTH response: IDr is missing');
    expect(violation(response(CREATE_CHILD_SA), []).message).toMatch(/is missing/);
  });

  test.each([NotifyType.COOKIE, NotifyType.PUZZLE, NotifyType.REDIRECT, NotifyType.NO_PROPOSAL_CHOSEN, 8191])(
    'N(%i) refuses IKE_SA_INIT',
    (type) => {
      expect(formOf(response(IKE_SA_INIT), [n(type)])).toBe('IKE_SA_INIT refusal');
    },
  );

  test('a request is no refusal, whatever it says', () => {
    expect(violation(request(IKE_SA_INIT), [n(NotifyType.NO_PROPOSAL_CHOSEN)]).message).toBe('IKE_SA_INIT request: SA is missing');
  });

  test.each([0, 15, 257, 1000])('a nonce of %i octets is refused (RFC 7296 §3.9)', (length) => {
    const error = violation(request(IKE_SA_INIT), [IKE_SA, KE, { kind: 'Nonce', data: new Uint8Array(length) }]);
    expect(error).toMatchObject({ code: 'INVALID_SYNTAX', notify: 7, section: 'RFC 7296 §3.9' });
  });

  test.each([16, 256])('a nonce of %i octets holds', (length) => {
    expect(() => checkMessage(request(IKE_SA_INIT), [IKE_SA, KE, { kind: 'Nonce', data: new Uint8Array(length) }])).not.toThrow();
  });

  test('resuming takes a ticket, following up takes a link', () => {
    expect(violation(request(IKE_SESSION_RESUME), [NONCE]).message).toBe('IKE_SESSION_RESUME request: N(TICKET_OPAQUE) is missing');
    expect(violation(request(IKE_FOLLOWUP_KE), [KE]).message).toBe('IKE_FOLLOWUP_KE request: N(ADDITIONAL_KEY_EXCHANGE) is missing');
  });

  test.each([
    ['SK', { kind: 'SK', inner: 33, bodyOffset: 32 }],
    ['SKF', { kind: 'SKF', inner: 33, fragment: 1, total: 2, bodyOffset: 36 }],
  ] as const)('an %s payload has no place in the exchange that makes the keys', (kind, sealed) => {
    const { message } = violation(request(IKE_SA_INIT), [IKE_SA, IKE_SA, KE, NONCE, sealed]);
    expect(message).toBe(`IKE_SA_INIT request: ${kind} has no place in it`);
    expect(violation(request(IKE_SESSION_RESUME), [NONCE, sealed]).message).toMatch(`${kind} has no place in it`);
  });

  test('what is still sealed is not judged, nor an exchange without grammar', () => {
    expect(() => checkMessage(request(IKE_AUTH), [{ kind: 'SK', inner: 35, bodyOffset: 32 }])).not.toThrow();
    expect(() => checkMessage(request(200), [KE, KE, EAP])).not.toThrow();
    expect(formOf(request(200), [])).toBeUndefined();
  });
});

test('every payload type of IKEv1 and of tomorrow may stand in every form without harm', () => {
  for (const form of MESSAGE_FORMS) {
    const { header: head, payloads } = FORMS[form];
    for (let type = 1; type < 256; type++) {
      if (PAYLOADS.some((definition) => definition.type === type)) continue;
      expect(() => checkMessage(head, [...payloads, { kind: 'unknown', type, data: fromHex('00') }])).not.toThrow();
    }
  }
});

test('the grammar prints as a table, one line per form', () => {
  const lines = printGrammar().trimEnd().split('\n');
  expect(lines.length).toBe(2 + MESSAGE_FORMS.length);
  expect(lines).toContain('| IKE_SA_INIT request | SA, KE, Nonce, [N+], [V+], [PS] | RFC 7296 appendix C.1 |');
  expect(lines).toContain(
    '| IKE_AUTH request | [SA, TSi, TSr], IDi, [IDr], [CERT+], [CERTREQ+], [AUTH], [N+], [V+], [CP], [PS] | RFC 7296 appendix C.2, C.3 |',
  );
  expect(lines).toContain('| IKE_FOLLOWUP_KE request | N(ADDITIONAL_KEY_EXCHANGE), KE, [N+], [V+] | RFC 9370 §2.2.4 |');
});

import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../../src/core/bytes/index.ts';
import type { Ask } from '../../../src/core/ike/effects.ts';
import { parseIdentityPattern } from '../../../src/core/pki/index.ts';
import { answerAsk } from '../../../src/host/engine/asks.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { loadCredentials } from '../../../src/host/engine/credentials/load.ts';

const SECRET = new Uint8Array(32).fill(7);

const ask = (patterns: Record<string, string>, id?: Uint8Array): Extract<Ask, { kind: 'ppk' }> => ({
  kind: 'ppk',
  candidates: Object.entries(patterns).map(([connection, pattern]) => ({
    connection,
    ppk: { id: parseIdentityPattern(pattern), required: false },
  })),
  id,
  remoteId: undefined,
});
const fixed = (id: string): Uint8Array => concat(Uint8Array.of(2), utf8(id));

function store(): CredentialStore {
  const made = new CredentialStore();
  made.addPpk(['one.lab'], SECRET, { handle: 'one' });
  made.addPpk(['two.lab', 'keyid:site 7'], new Uint8Array(32).fill(8), { handle: 'two' });
  return made;
}

describe('post-quantum pre-shared keys in the store (RFC 8784 §5.1)', () => {
  test('the initiator gets the first that its connection fits, its id with the type in front', () => {
    expect(store().ppk(ask({ net: 'two.lab' }))).toEqual({
      ok: true,
      id: fixed('two.lab'),
      secret: new Uint8Array(32).fill(8),
      connections: ['net'],
    });
    expect(store().ppk(ask({ net: '*.lab' }))).toMatchObject({ ok: true, id: fixed('one.lab') });
    expect(store().ppk(ask({ net: '%any' }))).toMatchObject({ ok: true, id: fixed('one.lab') });
  });

  test('the responder gets the one that was named, and the connections that allow it', () => {
    const patterns = { exact: 'two.lab', other: 'one.lab', open: '%any' };
    expect(store().ppk(ask(patterns, fixed('two.lab')))).toMatchObject({ ok: true, connections: ['exact', 'open'] });
    // on the wire an id has no type of identity: its octets are what counts
    expect(store().ppk(ask({ net: 'keyid:two.lab' }, fixed('two.lab')))).toMatchObject({ ok: true, connections: ['net'] });
    expect(store().ppk(ask({ net: 'keyid:site 7' }, fixed('site 7')))).toMatchObject({ ok: true });
  });

  test.each([
    ['nobody has it', ask({ net: '%any' }, fixed('three.lab')), /no post-quantum pre-shared key three\.lab/],
    ['no connection allows it', ask({ net: 'one.lab' }, fixed('two.lab')), /two\.lab/],
    ['another type of id', ask({ net: '%any' }, concat(Uint8Array.of(1), utf8('one.lab'))), /one\.lab/],
    ['nothing but a type', ask({ net: '%any' }, Uint8Array.of(2)), /no post-quantum/],
    ['none that the initiator could name', ask({ net: 'three.lab' }), /three\.lab/],
  ])('%s', (_what, question, message) => {
    const answer = store().ppk(question);
    expect(answer).toMatchObject({ ok: false, error: { code: 'PPK_UNKNOWN' } });
    if (!answer.ok) expect(answer.error.message).toMatch(message);
  });

  test('what it hands out is a copy, and what is removed is gone', () => {
    const made = store();
    const first = made.ppk(ask({ net: 'one.lab' }));
    if (first.ok) first.secret.fill(0);
    expect(made.ppk(ask({ net: 'one.lab' }))).toMatchObject({ ok: true, secret: SECRET });
    expect(made.remove('one')).toBe(true);
    expect(made.ppk(ask({ net: 'one.lab' }))).toMatchObject({ ok: false });
    made.clear();
    expect(made.loaded(0)).toEqual([]);
  });

  test('is listed by its id, never with its secret; loading overwrites what it was read into', () => {
    const secret = SECRET.slice();
    const made = new CredentialStore();
    loadCredentials(made, { certificates: [], authorities: [], psks: [], ppks: [{ name: 'quantum', ids: ['one.lab'], secret }] });
    expect(secret).toEqual(new Uint8Array(32));
    expect(made.loaded(0)).toEqual([{ kind: 'post-quantum pre-shared key', handle: 'quantum', id: 'one.lab' }]);
  });

  test('a holder of credentials that knows none refuses', async () => {
    const credentials = { authenticate: () => Promise.reject(new Error()), verify: () => Promise.reject(new Error()) };
    const answer = await answerAsk(ask({ net: 'one.lab' }), 1, { credentials } as unknown as Parameters<typeof answerAsk>[2]);
    expect(answer).toMatchObject({ ok: false, error: { code: 'PPK_UNKNOWN' } });
  });

  test('without an id or without octets it is refused', () => {
    expect(() => new CredentialStore().addPpk([], SECRET)).toThrow(/has no id/);
    expect(() => new CredentialStore().addPpk(['one.lab'], new Uint8Array(0))).toThrow(/is empty/);
  });
});

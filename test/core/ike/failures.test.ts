import { describe, expect, test } from 'vitest';
import { AuthenticationFailure, DataPlaneError, utf8 } from '../../../src/core/bytes/index.ts';
import { ExchangeType, NotifyType, parseMessage, TransformType } from '../../../src/core/wire/index.ts';
import { connection, End, ESP_PROPOSAL, established, IKE_PROPOSAL, LIMITS, settle } from './two-ends.ts';

const child = (side: 'left' | 'right') => connection(side).children[0]!;

function pair(changes: { left?: Partial<ReturnType<typeof connection>>; right?: Partial<ReturnType<typeof connection>> } = {}) {
  const left = new End({ connections: [connection('left', changes.left)] });
  const right = new End({ connections: [connection('right', changes.right)] });
  return { left, right };
}

/** Runs both ends until every timer has fired; then nothing may be left of any SA. */
function expectClean(...ends: End[]): void {
  for (const end of ends) {
    for (let now = 0; now < 400_000; now += 10_000) {
      end.endpoint.expire(now);
      end.drain(now);
    }
    expect(end.endpoint.info()).toEqual([]);
    expect(end.children.size).toBe(0);
    expect(end.endpoint.nextDeadline()).toBeUndefined();
  }
}

const initiate = (end: End) => end.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
const downOf = (end: End) => end.has('ike-down').map((n) => n.error?.code);

describe('what goes wrong ends in one clear error and leaves both sides clean', () => {
  test('D01 a wrong PSK: AUTHENTICATION_FAILED on the wire, the reason stays with the responder', () => {
    const { left, right } = pair();
    left.psk = utf8('something else');
    right.answers = (ask) =>
      ask.kind === 'verify'
        ? { ok: false, error: new AuthenticationFailure('the PSK does not match', { code: 'PSK_MISMATCH' }) }
        : right.answer(ask);
    initiate(left);
    settle(left, right);
    expect(downOf(left)).toEqual(['PEER_AUTHENTICATION_FAILED']);
    expect(downOf(right)).toEqual(['PSK_MISMATCH']);
    expectClean(left, right);
  });

  test('a responder that cannot be verified hears AUTHENTICATION_FAILED in an exchange of its own (RFC 7296 §2.21.2)', () => {
    const { left, right } = pair();
    left.answers = (ask) =>
      ask.kind === 'verify' ? { ok: false, error: new AuthenticationFailure('unknown CA', { code: 'UNKNOWN_CA' }) } : left.answer(ask);
    initiate(left);
    settle(left, right);
    expect(downOf(left)).toEqual(['UNKNOWN_CA']);
    expect(downOf(right)).toEqual(['PEER_AUTHENTICATION_FAILED']);
    expectClean(left, right);
  });

  test('no common IKE proposal: the answer is stateless, and each side says what both wanted', () => {
    const other = {
      ...IKE_PROPOSAL,
      transforms: IKE_PROPOSAL.transforms.map((t) => (t.type === TransformType.ENCR ? { ...t, keyLength: 256 } : t)),
    };
    const { left, right } = pair({ right: { proposals: [other] } });
    initiate(left);
    settle(left, right);
    expect(left.endpoint.info()[0]?.state, 'a refusal in the clear is not believed at once').toBe('connecting');
    left.endpoint.expire(1000);
    left.drain(1000);
    expect(downOf(left)).toEqual(['PEER_NO_PROPOSAL_CHOSEN']);
    expect(right.has('failed')[0]?.error.message).toMatch(/the peer offers .*AES_GCM_16-128.*we accept .*AES_GCM_16-256/);
    expectClean(left, right);
  });

  test('D27 no common ESP proposal: the IKE SA is made, the initiator gives it back', () => {
    const other = {
      ...ESP_PROPOSAL,
      transforms: ESP_PROPOSAL.transforms.map((t) => (t.type === TransformType.ENCR ? { ...t, keyLength: 256 } : t)),
    };
    const { left, right } = pair({ right: { children: [{ ...child('right'), proposals: [other] }] } });
    initiate(left);
    settle(left, right);
    expect(downOf(left)).toEqual(['PEER_NO_PROPOSAL_CHOSEN']);
    expectClean(left, right);
  });

  test('unacceptable selectors: TS_UNACCEPTABLE, and both sides named', () => {
    const { left, right } = pair({ right: { children: [{ ...child('right'), remoteTs: child('right').localTs }] } });
    initiate(left);
    settle(left, right);
    expect(downOf(left)).toEqual(['PEER_TS_UNACCEPTABLE']);
    expect(right.has('failed')[0]?.error.message).toMatch(/wanted 10\.1\.0\.0\/24, 10\.2\.0\.0\/24/);
    expectClean(left, right);
  });

  test('a silent peer is given up after the time the policy allows, with the hint to look at', () => {
    const { left } = pair();
    initiate(left);
    left.drain(0);
    let now = 0;
    for (let at = left.endpoint.nextDeadline(); at !== undefined; at = left.endpoint.nextDeadline()) {
      now = at;
      left.endpoint.expire(at);
      left.drain(at);
    }
    expect(now).toBe(60_000);
    expect(downOf(left)).toEqual(['PEER_SILENT']);
    expect(left.has('ike-down')[0]?.error?.hint).toMatch(/firewall/);
    expectClean(left);
  });

  test('a data plane that cannot install: the peer hears TEMPORARY_FAILURE, nothing stays', () => {
    const { left, right } = pair();
    right.answers = (ask) =>
      ask.kind === 'install' ? { ok: false, error: new DataPlaneError('no room', { code: 'NO_ROOM' }) } : right.answer(ask);
    initiate(left);
    settle(left, right);
    expect(downOf(left)).toEqual(['PEER_TEMPORARY_FAILURE']);
    expectClean(left, right);
  });

  test('an Ask that nobody answers ends the handshake, and the late answer is dropped', () => {
    const { left, right } = pair();
    right.answers = (ask) => (ask.kind === 'verify' ? undefined : right.answer(ask));
    initiate(left);
    settle(left, right);
    expectClean(left, right);
    expect(right.endpoint.answer(1, { ok: true }, 400_000)).toBe(false);
  });
});

describe('IKE_SA_INIT by detours', () => {
  test('D29 under load a cookie is demanded without state, and the retry with it succeeds', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')], limits: { ...LIMITS, cookieThreshold: 0 } });
    initiate(left);
    settle(left, right);
    const [first, second] = left.sent.map((d) => parseMessage(d.data));
    expect(first!.payloads[0]?.kind).toBe('SA');
    expect(second!.payloads[0]).toMatchObject({ kind: 'N', notify: NotifyType.COOKIE });
    expect(left.endpoint.info()[0]?.state).toBe('established');
  });

  test('D31, D48 another key exchange, after a cookie: nonce and proposals stay, the public value changes', () => {
    const onlyP256 = { ...IKE_PROPOSAL, transforms: IKE_PROPOSAL.transforms.filter((t) => t.type !== TransformType.KE || t.id === 19) };
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right', { proposals: [onlyP256] })], limits: { ...LIMITS, cookieThreshold: 0 } });
    initiate(left);
    settle(left, right);
    expect(left.endpoint.info()[0]).toMatchObject({ state: 'established', suite: 'aes128gcm16/prfsha256/ecp256' });
    const inits = left.sent.map((d) => parseMessage(d.data)).filter((m) => m.header.exchange === ExchangeType.IKE_SA_INIT);
    const nonces = inits.map((m) => m.payloads.find((p) => p.kind === 'Nonce')?.data);
    expect(inits).toHaveLength(3);
    expect(nonces[1]).toEqual(nonces[0]);
    expect(nonces[2]).toEqual(nonces[0]);
    expect(inits.every((m) => m.header.messageId === 0)).toBe(true);
  });

  test('an address that opens half-open SAs without end is cut off', () => {
    const right = new End({ connections: [connection('right', { remoteAddresses: ['%any'] })] });
    for (let i = 0; i < 50; i++) {
      const left = new End({ connections: [connection('left')] });
      initiate(left);
      for (const d of left.drain(0)) right.endpoint.receive({ local: d.remote, remote: d.local, data: d.data, encap: false }, 0);
      right.drain(0);
    }
    expect(right.endpoint.info()).toHaveLength(LIMITS.halfOpenPerAddress);
    expectClean(right);
  });
});

describe('an established IKE SA', () => {
  test('D52 an unprotected error only makes us ask whether the peer lives, and not often', () => {
    const { left, right } = established();
    const [sa] = left.endpoint.info();
    const forged = new Uint8Array(36);
    forged.set(sa!.spiI, 0);
    forged.set(sa!.spiR, 8);
    forged.set([41, 0x20, 37, 0x20, 0, 0, 0, 9, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0, 24], 16);
    for (let i = 0; i < 10; i++) left.endpoint.receive({ local: sa!.local, remote: sa!.remote, data: forged.slice(), encap: false }, 100);
    settle(left, right, 100);
    expect(left.endpoint.info()[0]?.state).toBe('established');
  });

  test('CVE-2014-2338: CREATE_CHILD_SA and INFORMATIONAL before authentication are dropped', () => {
    const { left, right } = pair();
    initiate(left);
    let auth: Uint8Array | undefined;
    settle(left, right, 0, (d) => {
      if (parseMessage(d.data).header.exchange !== ExchangeType.IKE_AUTH) return d;
      auth ??= d.data;
      for (const exchange of [ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL]) {
        // the exchange type is authenticated, so a changed one does not verify; what counts is that nothing happens
        right.endpoint.receive({ local: d.remote, remote: d.local, data: d.data.with(18, exchange), encap: false }, 0);
      }
      return undefined;
    });
    expect(auth).toBeDefined();
    expect(right.endpoint.info()[0]?.state).toBe('half-open');
  });

  test('a replayed request is answered from memory and acted on once', () => {
    const { left, right } = established();
    const before = right.has('child-up').length;
    const request = left.sent.at(-1)!;
    for (let i = 0; i < 5; i++)
      right.endpoint.receive({ local: request.remote, remote: request.local, data: request.data.slice(), encap: request.encap }, 0);
    expect(right.drain(0)).toHaveLength(5);
    expect(right.has('child-up')).toHaveLength(before);
  });

  test('D32 another group for a second child: INVALID_KE_PAYLOAD inside CREATE_CHILD_SA, retried, the first child untouched', () => {
    const groups = { ...ESP_PROPOSAL, transforms: [...ESP_PROPOSAL.transforms, { type: TransformType.KE, id: 19 }] };
    const onlyP256 = { ...ESP_PROPOSAL, transforms: groups.transforms.filter((t) => t.type !== TransformType.KE || t.id === 19) };
    const { left, right } = established({
      left: { children: [{ ...child('left'), proposals: [groups] }] },
      right: { children: [{ ...child('right'), proposals: [onlyP256] }] },
    });
    left.endpoint.command({ kind: 'create-child', ikeSa: left.endpoint.info()[0]!.id, child: 'net' }, 10);
    settle(left, right, 10);
    expect(left.has('failed')).toEqual([]);
    expect(left.children.size).toBe(2);
    expect(right.children.size).toBe(2);
  });

  test('a peer that stops answering is gone after the liveness check, and its children with it (D03)', () => {
    const { left } = established({ left: { liveness: { delay: 10_000 } } });
    for (let at = left.endpoint.nextDeadline(); at !== undefined; at = left.endpoint.nextDeadline()) {
      left.endpoint.expire(at);
      left.drain(at);
    }
    expect(downOf(left)).toEqual(['PEER_SILENT']);
    expect(left.children.size).toBe(0);
  });

  test('traffic spares liveness checks (RFC 7296 §2.4)', () => {
    const { left } = established({ left: { liveness: { delay: 10_000 } } });
    const sent = left.sent.length;
    for (let now = 0; now < 60_000; now += 2_000) {
      left.endpoint.observe({ kind: 'inbound-traffic', child: left.endpoint.info()[0]!.children[0]!.id }, now);
      left.endpoint.expire(now);
      left.drain(now);
    }
    expect(left.sent.length).toBe(sent);
  });
});

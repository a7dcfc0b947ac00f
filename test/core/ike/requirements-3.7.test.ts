import { describe, expect, test } from 'vitest';
import { concat } from '../../../src/core/bytes/index.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import type { RemoteAuth } from '../../../src/core/ike/index.ts';
import { findNotify, notify } from '../../../src/core/ike/notifies.ts';
import { deleteHalves } from '../../../src/core/ike/tasks/child-delete.ts';
import { type CertreqPayload, NotifyType, type Payload, ProtocolId, parseMessage, writePayloads } from '../../../src/core/wire/index.ts';
import { connection, End, settle } from './two-ends.ts';

const AUTHORITY = new Uint8Array(20).fill(0xca);
const ANYBODY = { kind: 'any' } as const;

/** Two ends of which the right one wants its peer to prove itself so. */
function meet(remote: Omit<RemoteAuth, 'id'>, authorities: readonly Uint8Array[] = [AUTHORITY]) {
  const left = new End({ connections: [connection('left')] });
  const right = new End({
    connections: [connection('right', { remote: [{ ...remote, id: ANYBODY }] })],
    certificateAuthorities: authorities,
  });
  const flags: boolean[] = [];
  left.answers = (ask) => {
    if (ask.kind === 'authenticate') flags.push(ask.sendCertificates);
    return left.answer(ask);
  };
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  const requests = parseMessage(right.sent[0]!.data).payloads.filter((p): p is CertreqPayload => p.kind === 'CERTREQ');
  return { requests, sendsCertificates: flags[0] };
}

describe('hash and URL (RFC 7296 §3.6)', () => {
  const announces = (end: End) => {
    const { payloads } = parseMessage(end.sent[0]!.data);
    return findNotify(payloads, NotifyType.HTTP_CERT_LOOKUP_SUPPORTED) !== undefined;
  };

  /** Two ends, and whether each is to put URLs in place of certificates. */
  function lookUp(looksUpCertificates: boolean, auth: 'pubkey' | 'psk') {
    const ends = (['left', 'right'] as const).map(
      (name) => new End({ connections: [connection(name, { remote: [{ auth, id: ANYBODY }] })], looksUpCertificates }),
    ) as [End, End];
    const told = ends.map((end) => {
      const asked: (boolean | undefined)[] = [];
      end.answers = (ask) => {
        if (ask.kind === 'authenticate') asked.push(ask.looksUp);
        return end.answer(ask);
      };
      return asked;
    });
    const [left, right] = ends;
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(left, right);
    return { left, right, told: told.flat() };
  }

  test('is announced by the responder in IKE_SA_INIT, by the initiator in IKE_AUTH, and each tells its signer of the other', () => {
    const { left, right, told } = lookUp(true, 'pubkey');
    expect([announces(left), announces(right)]).toEqual([false, true]);
    expect(told).toEqual([true, true]);
  });

  test.each([
    [false, 'pubkey'],
    [true, 'psk'],
  ] as const)('is not announced where nothing is looked up, or nobody has a certificate (%s, %s)', (looksUp, auth) => {
    const { right, told } = lookUp(looksUp, auth);
    expect(announces(right)).toBe(false);
    expect(told).toEqual([false, false]);
  });
});

describe('Certificate Request (RFC 7296 §3.7)', () => {
  test('authorities stand under X.509 alone; who pins keys names nobody', () => {
    expect(meet({ auth: 'any' }).requests).toMatchObject([{ encoding: 4, authorities: AUTHORITY }]);
    const pinned = meet({ auth: 'any', publicKeys: ['sha256:00'], authorities: ['lab'] });
    expect(pinned.requests).toMatchObject([
      { encoding: 4, authorities: AUTHORITY },
      { encoding: 15, authorities: new Uint8Array(0) },
    ]);
    expect(meet({ auth: 'any' }, []).requests).toEqual([]);
  });

  test('a certificate goes to who asked for one', () => {
    expect(meet({ auth: 'any' }).sendsCertificates).toBe(true);
    expect(meet({ auth: 'psk' }).sendsCertificates).toBe(false);
  });
});

describe('Notify (RFC 7296 §3.10)', () => {
  test('without SPI names no protocol, on the wire as well', () => {
    expect(notify(NotifyType.INITIAL_CONTACT)).toMatchObject({ protocol: 0, spi: new Uint8Array(0) });
    const w = new Writer();
    writePayloads(w, [notify(NotifyType.INITIAL_CONTACT)]);
    expect([...w.finish()]).toEqual([0, 0, 0, 8, 0, 0, 0x40, 0x00]);
  });
});

describe('Delete (RFC 7296 §3.11)', () => {
  const first = deleteHalves([
    { protocol: 'ESP', spi: 0xc0000001 },
    { protocol: 'AH', spi: 0xc0000002 },
    { protocol: 'ESP', spi: 0xc0000003 },
  ]).next().value;
  const sent: readonly Payload[] = typeof first === 'object' && first.kind === 'exchange' ? first.request.payloads : [];

  test('of SPIs of two protocols is two payloads', () => {
    expect(sent).toEqual([
      { kind: 'D', protocol: ProtocolId.ESP, spis: [Uint8Array.of(0xc0, 0, 0, 1), Uint8Array.of(0xc0, 0, 0, 3)] },
      { kind: 'D', protocol: ProtocolId.AH, spis: [Uint8Array.of(0xc0, 0, 0, 2)] },
    ]);
  });

  test('names SPIs of four octets for ESP and AH', () => {
    expect(concat(...sent.flatMap((p) => (p.kind === 'D' ? p.spis : [])))).toHaveLength(12);
  });
});

import { describe, expect, test } from 'vitest';
import { CertificateFailure } from '../../../src/core/bytes/index.ts';
import {
  type Certificate,
  CLIENT_PURPOSE,
  CLIENT_USAGES,
  certificateFailure,
  certificateSigner,
  DEFAULT_ALGORITHMS,
  findPath,
  GATEWAY_USAGES,
  Oid,
  type PathOptions,
  parseCertificate,
  SERVER_PURPOSE,
} from '../../../src/core/pki/index.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { DAY, intermediate, NOW, peer, root } from './lab.ts';

const ca = root();
const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing');
const gateway = peer(sub, 'C=CH, O=lab, CN=gw', ['vpn.example.com'], { usages: GATEWAY_USAGES }).certificate;

function attempt(leaf: Certificate, options: Partial<PathOptions> = {}) {
  return findPath(leaf, { anchors: [ca.certificate], intermediates: [sub.certificate], at: NOW, ...options });
}

/** The failure, which must say what to do next. */
function failure(leaf: Certificate, options: Partial<PathOptions> = {}): CertificateFailure {
  const result = attempt(leaf, options);
  if (result.ok) throw new Error('a path was found');
  expect(result.error).toBeInstanceOf(CertificateFailure);
  expect(result.error.hint).toMatch(/^[A-Z].*\.$/);
  return result.error;
}

describe('a path', () => {
  test('leads from the end entity to the anchor, and holds as long as all of it', () => {
    const result = attempt(gateway);
    expect(result).toMatchObject({ ok: true, notBefore: NOW - 10 * DAY, notAfter: gateway.notAfter });
    if (result.ok) expect(result.path).toEqual([gateway, sub.certificate, ca.certificate]);
  });

  test('is found whatever else a peer sends, in any order', () => {
    const others = Array.from({ length: 20 }, (_, i) => root(`CN=other ${i}`).certificate);
    expect(attempt(gateway, { intermediates: [...others, ca.certificate, gateway, sub.certificate] }).ok).toBe(true);
  });

  test('may end at an intermediate that is trusted', () => {
    const result = attempt(gateway, { anchors: [sub.certificate], intermediates: [] });
    expect(result.ok && result.path).toEqual([gateway, sub.certificate]);
  });

  test('goes through a cross-certificate, and does not run in circles', () => {
    const other = root('CN=other CA');
    const crossed = intermediate(other, 'C=CH, O=lab, CN=lab CA', { key: ca.key });
    const back = intermediate(ca, 'CN=other CA', { key: other.key });
    const result = attempt(gateway, {
      anchors: [other.certificate],
      intermediates: [back.certificate, sub.certificate, crossed.certificate],
    });
    expect(result.ok && result.path).toEqual([gateway, sub.certificate, crossed.certificate, other.certificate]);
    expect(
      failure(gateway, { anchors: [root('CN=third').certificate], intermediates: [back.certificate, sub.certificate, crossed.certificate] })
        .code,
    ).toBe('UNKNOWN_CA');
  });

  test('takes the intermediate that is valid when there is an expired one of the same name and key', () => {
    const old = intermediate(ca, 'C=CH, O=lab, CN=issuing', { key: sub.key, notAfter: NOW - DAY }).certificate;
    expect(attempt(gateway, { intermediates: [old, sub.certificate] }).ok).toBe(true);
    expect(failure(gateway, { intermediates: [old] }).code).toBe('CERTIFICATE_EXPIRED');
  });

  test('of one certificate does when that is trusted itself', () => {
    const result = attempt(gateway, { anchors: [], intermediates: [], trustedPeers: [parseCertificate(gateway.der.slice())] });
    expect(result.ok && result.path).toEqual([gateway]);
    expect(failure(gateway, { anchors: [], trustedPeers: [gateway], at: gateway.notAfter + DAY }).code).toBe('CERTIFICATE_EXPIRED');
  });
});

describe('why a path fails, in one sentence', () => {
  test('the authority is not known', () => {
    const error = failure(gateway, { anchors: [root('CN=other').certificate] });
    expect(error.code).toBe('UNKNOWN_CA');
    expect(error.message).toBe(
      'the certificate "C=CH, O=lab, CN=issuing" was issued by "C=CH, O=lab, CN=lab CA", which is not among the trusted authorities',
    );
  });

  test('an intermediate is missing', () => {
    const error = failure(gateway, { intermediates: [] });
    expect(error.message).toBe(
      'the certificate "C=CH, O=lab, CN=gw" was issued by "C=CH, O=lab, CN=issuing", which is not among the trusted authorities',
    );
    expect(error.hint).toContain('the peer has to send its certificate along');
  });

  test('nothing is trusted at all', () => {
    expect(failure(gateway, { anchors: [] }).hint).toBe('No authority is loaded: add the certificate of the authority that issued it.');
  });

  test('it signed itself', () => {
    const self = root('CN=alone').certificate;
    expect(failure(self).message).toBe('the certificate "CN=alone" is signed by itself and not among the trusted ones');
  });

  test('another authority has the same name', () => {
    const error = failure(gateway, { anchors: [root().certificate] });
    expect(error.code).toBe('BAD_SIGNATURE');
    expect(error.message).toBe(
      'the certificate "C=CH, O=lab, CN=issuing" was not signed with the key of "C=CH, O=lab, CN=lab CA": the signature is wrong',
    );
  });

  test('it has expired, and when', () => {
    const error = failure(gateway, { at: gateway.notAfter + 3 * DAY });
    expect(error.code).toBe('CERTIFICATE_EXPIRED');
    expect(error.message).toBe('the certificate "C=CH, O=lab, CN=gw" expired on 2027-03-30 00:00 UTC, 3 d ago');
    expect(error.hint).toContain('the clock here, which says 2027-04-02 00:00 UTC');
  });

  test('it is not valid yet', () => {
    const error = failure(gateway, { at: gateway.notBefore - 1000 });
    expect(error.code).toBe('NOT_YET_VALID');
    expect(error.message).toBe('the certificate "C=CH, O=lab, CN=lab CA" is not valid before 2026-05-22 12:00 UTC');
    expect(error.hint).toContain('Set the clock here');
  });

  test('both ends of its validity count', () => {
    expect(attempt(gateway, { at: gateway.notBefore }).ok).toBe(true);
    expect(attempt(gateway, { at: gateway.notAfter + 999 }).ok).toBe(true);
    expect(attempt(gateway, { at: gateway.notAfter + 1000 }).ok).toBe(false);
  });

  test('the issuer is no authority', () => {
    const key = peer(ca, 'CN=k', []).key;
    const holder = peer(ca, 'CN=gateway', [], { key });
    const forged = peer({ certificate: holder.certificate, signer: certificateSigner(key.privateKey) }, 'CN=forged', []).certificate;
    const error = failure(forged, { intermediates: [holder.certificate] });
    expect(error.code).toBe('NOT_A_CA');
    expect(error.message).toContain('the certificate "CN=gateway" is not one of an authority');
  });

  test('an authority may have none below it', () => {
    const last = intermediate(ca, 'CN=last', { pathLength: 0 });
    const below = intermediate(last, 'CN=below');
    const leaf = peer(below, 'CN=leaf', []).certificate;
    const error = failure(leaf, { intermediates: [last.certificate, below.certificate] });
    expect(error.code).toBe('PATH_TOO_LONG');
    expect(error.message).toContain('"CN=below" is one authority too many');
    expect(failure(gateway, { limits: { intermediates: 0 } }).code).toBe('PATH_TOO_LONG');
  });

  test('its key is for something else', () => {
    const server = peer(ca, 'CN=s', [], { usages: [Oid.serverAuth] }).certificate;
    expect(attempt(server).ok).toBe(true);
    expect(attempt(server, { purpose: SERVER_PURPOSE }).ok).toBe(true);
    const error = failure(server, { purpose: CLIENT_PURPOSE });
    expect(error.code).toBe('EXTENDED_KEY_USAGE');
    expect(error.message).toBe('the certificate "CN=s" is not for TLS clients: it is for serverAuth only');
    const code = peer(ca, 'CN=c', [], { usages: ['1.3.6.1.5.5.7.3.3'] }).certificate;
    expect(failure(code).message).toBe('the certificate "CN=c" is not for IKE: it is for codeSigning only');
    for (const usages of [[], [Oid.anyExtendedKeyUsage], [Oid.ipsecIke], [Oid.ikeIntermediate], CLIENT_USAGES]) {
      expect(attempt(peer(ca, 'CN=ok', [], { usages }).certificate).ok).toBe(true);
    }
  });

  test('its key or hash is too weak for what is demanded', () => {
    expect(failure(gateway, { algorithms: { ...DEFAULT_ALGORITHMS, ecdsa: 384 } }).code).toBe('WEAK_KEY');
    const error = failure(gateway, { algorithms: { ...DEFAULT_ALGORITHMS, hashes: ['sha384'] } });
    expect(error.code).toBe('WEAK_ALGORITHM');
    expect(error.message).toContain('ecdsa-sha256 is too weak to count');
  });

  test('its names are not those its authority may certify', () => {
    const held = intermediate(ca, 'CN=held', { permittedNames: ['example.com'] });
    const inside = peer(held, 'CN=a', ['vpn.example.com']).certificate;
    const outside = peer(held, 'CN=b', ['vpn.example.com', 'vpn.example.org']).certificate;
    expect(attempt(inside, { intermediates: [held.certificate] }).ok).toBe(true);
    const error = failure(outside, { intermediates: [held.certificate] });
    expect(error.code).toBe('NAME_CONSTRAINTS');
    expect(error.message).toContain('DNS:vpn.example.org is not among the permitted names');
  });

  test('it was revoked, says whoever knows', () => {
    const seen: string[] = [];
    const revocation = {
      check: (certificate: Certificate, issuer: Certificate) => {
        seen.push(`${certificate === gateway ? 'gw' : 'issuing'} by ${issuer === sub.certificate ? 'issuing' : 'root'}`);
        return certificate === gateway ? certificateFailure('CERTIFICATE_REVOKED', 'revoked', 'Get a new one.') : undefined;
      },
    };
    expect(failure(gateway, { revocation }).code).toBe('CERTIFICATE_REVOKED');
    expect(seen).toEqual(['issuing by root', 'gw by issuing']);
  });

  test('the failure is that of the path which held longest', () => {
    const stale = intermediate(root('CN=unknown'), 'C=CH, O=lab, CN=issuing', { key: sub.key }).certificate;
    expect(failure(gateway, { intermediates: [stale, sub.certificate], at: gateway.notAfter + DAY }).code).toBe('CERTIFICATE_EXPIRED');
  });
});

describe('work is bounded', () => {
  test('many authorities of one name cost no more than the limits say', () => {
    const maze = Array.from({ length: 40 }, (_, i) => intermediate(ca, `CN=maze ${i % 2}`));
    const forged = intermediate(maze[0]!, 'CN=maze 1', { key: peer(ca, 'CN=k', []).key });
    const stranger = intermediate(forged, 'CN=maze 0');
    const leaf = peer(stranger, 'CN=leaf', []).certificate;
    expectAtOnce(() => {
      const error = failure(leaf, { intermediates: maze.map(({ certificate }) => certificate) });
      expect(['BAD_SIGNATURE', 'PATH_TOO_COMPLEX']).toContain(error.code);
    }, 1000);
  });

  test('a mesh in which all certify all', () => {
    const authorities = Array.from({ length: 8 }, (_, i) => root(`CN=mesh ${i}`));
    const mesh = authorities.flatMap((a, i) =>
      authorities.flatMap((b, k) => (i === k ? [] : [intermediate(a, `CN=mesh ${k}`, { key: b.key }).certificate])),
    );
    const leaf = peer(authorities[0]!, 'CN=leaf', []).certificate;
    expectAtOnce(() => expect(failure(leaf, { intermediates: mesh }).code).toBe('PATH_TOO_COMPLEX'), 1000);
    expect(attempt(leaf, { anchors: [authorities[7]!.certificate], intermediates: mesh }).ok).toBe(true);
  });

  test('the number of signatures that are verified', () => {
    expect(failure(gateway, { anchors: [parseCertificate(ca.certificate.der.slice())], limits: { signatures: 0 } }).code).toBe(
      'PATH_TOO_COMPLEX',
    );
  });
});

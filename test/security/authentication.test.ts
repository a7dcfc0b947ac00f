import { describe, expect, test } from 'vitest';
import { AuthenticationFailure, concat, toHex, utf8 } from '../../src/core/bytes/index.ts';
import { chooseScheme, OUR_HASHES, prf, pskAuth, signAuth } from '../../src/core/crypto/index.ts';
import type { Ask, AskResult, LocalAuth, RemoteAuth } from '../../src/core/ike/index.ts';
import { CLIENT_USAGES, formatPem, GATEWAY_USAGES, parseIdentity, parseIdentityPattern } from '../../src/core/pki/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import { CredentialStore } from '../../src/host/engine/credentials/credentials.ts';
import type { End } from '../core/ike/two-ends.ts';
import { DAY, type Holder, intermediate, NOW, peer, root } from '../core/pki/lab.ts';
import { expectAtOnce } from '../support/at-once.ts';
import { establish, establishedSas, type Filter, type Trio, toRest, trio } from './support/life.ts';

/**
 * Both ends with real credentials, and somebody between them who has the keys of IKE_SA_INIT: a peer that cannot prove who it is, in every way
 * there is not to. strongSwan CVE-2013-2944 (empty and zero signatures), CVE-2023-26463 (the key of one chain, the certificates of another),
 * libreswan CVE-2024-2357 (a secret that is missing), CVE-2018-0131 and CVE-2018-5389 (what the answer gives away).
 */
const ca = root('C=CH, O=lab, CN=lab CA');
const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing');
const foreign = root('C=CH, O=elsewhere, CN=lab CA');
const GATEWAY = 'gw.example';
const ALICE = 'alice@example';
const gateway = peer(sub, `CN=${GATEWAY}`, [GATEWAY], { usages: GATEWAY_USAGES });
const alice = peer(sub, `CN=${ALICE}`, [ALICE], { usages: CLIENT_USAGES });
const mallory = peer(foreign, `CN=${ALICE}`, [ALICE], { usages: CLIENT_USAGES });
const rsa = peer(sub, 'CN=rsa@example', ['rsa@example'], { usages: CLIENT_USAGES, kind: 'rsa-3072' });
const SECRET = utf8('a secret that both ends know');

interface Side {
  readonly id: string;
  readonly auth: 'psk' | 'pubkey';
  readonly holder?: Holder;
  readonly chain?: readonly Pick<Holder, 'certificate'>[];
  readonly psk?: Uint8Array;
}

const aliceByPsk: Side = { id: ALICE, auth: 'psk', psk: SECRET };
const aliceByCertificate: Side = { id: ALICE, auth: 'pubkey', holder: alice };

interface Scene {
  readonly initiator?: Side;
  /** What the gateway wants of a peer. */
  readonly wants?: RemoteAuth;
  readonly gatewayCredentials?: (store: CredentialStore) => void;
  readonly authorise?: (ask: Extract<Ask, { kind: 'authorise' }>) => AskResult;
  readonly filter?: (world: Trio) => Filter;
  readonly seed?: string;
  /** Wall clock of the gateway. */
  readonly at?: number;
}

const anyOf = (auth: RemoteAuth['auth'], id = '*@example'): RemoteAuth => ({ auth, id: parseIdentityPattern(id) });

function play({ initiator = aliceByPsk, wants = anyOf('psk'), gatewayCredentials, authorise, filter, at = NOW, seed = '1' }: Scene): Trio {
  const local = ({ id, auth }: Side): LocalAuth => ({ auth, id: parseIdentity(id) });
  const world = trio({
    seed,
    left: { local: [local(initiator)], remote: [anyOf('pubkey', GATEWAY)], sendCert: 'always', sendCertreq: true },
    right: { local: [{ auth: 'pubkey', id: parseIdentity(GATEWAY) }], remote: [wants], sendCert: 'always', sendCertreq: true },
  });
  const [ours, theirs] = [new CredentialStore(), new CredentialStore()];
  for (const store of [ours, theirs]) store.addAuthority(ca.certificate.der);
  hold(theirs, gateway, [sub]);
  theirs.addPsk([ALICE], SECRET);
  gatewayCredentials?.(theirs);
  if (initiator.holder) hold(ours, initiator.holder, initiator.chain ?? [sub]);
  if (initiator.psk) ours.addPsk([GATEWAY, initiator.id], initiator.psk);
  attend(world.left, ours, NOW);
  attend(world.right, theirs, at, authorise);
  establish(world, filter?.(world));
  return world;
}

function hold(store: CredentialStore, holder: Holder, chain: readonly Pick<Holder, 'certificate'>[]): void {
  store.addCertificate([holder, ...chain].map(({ certificate }) => formatPem('CERTIFICATE', certificate.der)).join(''));
  store.addPrivateKey(holder.key.pem);
}

/** What an end was to sign last. */
const toSign = new WeakMap<End, Uint8Array>();
/** What it was to verify last, and who did. */
const asked = new WeakMap<End, { readonly ask: Extract<Ask, { kind: 'verify' }>; readonly store: CredentialStore }>();

function attend(end: End, store: CredentialStore, at: number, authorise?: Scene['authorise']): void {
  end.answers = (ask) => {
    if (ask.kind === 'authenticate') {
      toSign.set(end, ask.octets(ask.auth.id!));
      return store.authenticate(ask, at);
    }
    if (ask.kind === 'verify') {
      asked.set(end, { ask: { ...ask, data: ask.data.slice(), octets: ask.octets.slice() }, store });
      return store.verify(ask, at);
    }
    return ask.kind === 'authorise' && authorise ? authorise(ask) : end.answer(ask);
  };
}

/** Changes the payloads of IKE_AUTH that one end sends. */
const meddling =
  (from: 'left' | 'right', edit: (payloads: readonly Payload[], world: Trio) => readonly Payload[]) =>
  (world: Trio): Filter =>
  (datagram, sender) =>
    sender === world[from] && datagram.data[18] === ExchangeType.IKE_AUTH
      ? world.meddler.rewrite(datagram, (payloads) => edit(payloads, world))
      : datagram;

const withAuth =
  (method: number | undefined, data?: Uint8Array) =>
  (payloads: readonly Payload[]): Payload[] =>
    payloads.map((payload) =>
      payload.kind === 'AUTH' ? { ...payload, method: method ?? payload.method, data: data ?? payload.data } : payload,
    );

const cert = (data: Uint8Array, encoding = 4): Payload => ({ kind: 'CERT', encoding, data });

const withCerts =
  (...certificates: readonly Payload[]) =>
  (payloads: readonly Payload[]): Payload[] => {
    const others = payloads.filter(({ kind }) => kind !== 'CERT');
    return [...others.slice(0, 1), ...certificates, ...others.slice(1)];
  };

const signedBy =
  ({ key }: Holder) =>
  (payloads: readonly Payload[], { left }: Trio): Payload[] => {
    const scheme = chooseScheme({ key: key.privateKey, peerHashes: OUR_HASHES })!;
    return withAuth(scheme.authMethod, signAuth(key.privateKey, scheme, toSign.get(left)!))(payloads);
  };

const byCertificate: Scene = { initiator: aliceByCertificate, wants: anyOf('pubkey') };

test('honest peers come in: what follows fails for its own reason', () => {
  for (const scene of [
    {},
    byCertificate,
    { ...byCertificate, initiator: { id: 'rsa@example', auth: 'pubkey', holder: rsa } },
  ] satisfies Scene[]) {
    const world = play(scene);
    expect([establishedSas(world.left).length, establishedSas(world.right).length]).toEqual([1, 1]);
  }
});

const FAILURES: Readonly<Record<string, Scene & { readonly code: string }>> = {
  'a wrong secret': { initiator: { ...aliceByPsk, psk: utf8('another') }, code: 'PSK_MISMATCH' },
  'an identity without a secret here (CVE-2024-2357)': { initiator: { ...aliceByPsk, id: 'bob@example' }, code: 'PSK_MISSING' },
  'an identity that no connection means': { initiator: { ...aliceByPsk, id: 'alice@elsewhere' }, code: 'IDENTITY_NOT_ALLOWED' },
  'a secret where a certificate is wanted': { wants: anyOf('pubkey'), code: 'AUTH_METHOD' },
  'a certificate where a secret is wanted': { initiator: aliceByCertificate, code: 'AUTH_METHOD' },
  'an authority that nobody knows': {
    ...byCertificate,
    initiator: { ...aliceByCertificate, holder: mallory, chain: [foreign] },
    code: 'UNKNOWN_CA',
  },
  'a certificate that is over': { ...byCertificate, at: NOW + 400 * DAY, code: 'CERTIFICATE_EXPIRED' },
  'a certificate whose time has not come': { ...byCertificate, at: NOW - 100 * DAY, code: 'NOT_YET_VALID' },
  'somebody else’s certificate, and his own signature': {
    ...byCertificate,
    filter: meddling('left', signedBy(mallory)),
    code: 'AUTH_SIGNATURE',
  },
  'a certificate that names another': {
    ...byCertificate,
    filter: meddling('left', (payloads) => payloads.map((p) => (p.kind === 'IDi' ? { ...p, data: utf8('bob@example') } : p))),
    code: 'IDENTITY_MISMATCH',
  },
  'a certificate that is none': {
    ...byCertificate,
    filter: meddling('left', withCerts(cert(utf8('certainly')))),
    code: 'CERTIFICATE_UNREADABLE',
  },
  'no certificate': { ...byCertificate, filter: meddling('left', withCerts()), code: 'CERTIFICATE_MISSING' },
  'a certificate in a form that is not taken': {
    ...byCertificate,
    filter: meddling('left', withCerts(cert(alice.certificate.der, 11))),
    code: 'CERTIFICATE_MISSING',
  },
  'no AUTH, which asks for EAP': {
    filter: meddling('left', (payloads) => payloads.filter(({ kind }) => kind !== 'AUTH')),
    code: 'EAP_NOT_OFFERED',
  },
  'an IDr that we are not': {
    filter: meddling('left', (payloads) => payloads.map((p) => (p.kind === 'IDr' ? { ...p, data: utf8('other.example') } : p))),
    code: 'NO_MATCHING_PEER',
  },
  'the operator’s no': {
    authorise: () => ({ ok: false, error: new AuthenticationFailure('the peer is not let in', { code: 'NOT_AUTHORISED' }) }),
    code: 'NOT_AUTHORISED',
  },
};

describe('CVE-2018-0131 and its kind: every failure to authenticate looks the same from outside', () => {
  test.each(Object.entries(FAILURES))(
    '%s: AUTHENTICATION_FAILED without a word, in one message of one length; the reason stays here',
    (_what, { code, ...scene }) => {
      const world = play(scene);
      expect(establishedSas(world.right)).toEqual([]);
      const answers = world.right.sent.filter(({ data }) => data[18] === ExchangeType.IKE_AUTH);
      expect(answers).toHaveLength(1);
      expect(world.meddler.open(answers[0]!.data)!.payloads).toEqual([
        { kind: 'N', notify: NotifyType.AUTHENTICATION_FAILED, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) },
      ]);
      expect(answers[0]!.data.length).toBe(REFUSAL);
      expect(world.right.has('ike-down').map(({ error }) => error?.code)).toEqual([code]);
      expect([world.right.has('ike-up'), world.right.has('child-up'), world.right.has('peer').length > 1]).toEqual([[], [], false]);
      toRest(world.right);
      expect(world.right.endpoint.info()).toEqual([]);
    },
  );

  test('the failures above are of all kinds', () => {
    expect(new Set(Object.values(FAILURES).map(({ code }) => code)).size).toBeGreaterThan(12);
  });
});

/** What every field of an AUTH payload can hold that proves nothing. */
const PROOFS: readonly Uint8Array[] = [
  new Uint8Array(0),
  new Uint8Array(1),
  new Uint8Array(32),
  new Uint8Array(64),
  new Uint8Array(256),
  new Uint8Array(256).fill(0xff),
  Uint8Array.of(0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00), // r = s = 0
  Uint8Array.of(0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01), // r = s = 1
  Uint8Array.of(0x30, 0x00),
  // RFC 7427 §3: the length, an AlgorithmIdentifier, and nothing, zeros, or zeros in DER
  ...['300a06082a8648ce3d040302', '300d06092a864886f70d01010b0500', '300506032b6570', '300506032b6571'].flatMap((identifier) => {
    const algorithm = Uint8Array.from(identifier.match(/../g)!, (hex) => Number.parseInt(hex, 16));
    const head = concat(Uint8Array.of(algorithm.length), algorithm);
    return [
      head,
      concat(head, new Uint8Array(64)),
      concat(head, new Uint8Array(256)),
      concat(head, Uint8Array.of(0x30, 6, 2, 1, 0, 2, 1, 0)),
    ];
  }),
  Uint8Array.of(0),
  Uint8Array.of(0, 0, 0),
  Uint8Array.of(255),
  // what a secret of no octets, and one of zeros, would make
  pskAuth(prf(5)!, new Uint8Array(0), new Uint8Array(0)),
];

const METHODS = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 200, 255];

describe('CVE-2013-2944: empty, zero and trivial proofs under every authentication method', () => {
  const scenes: Readonly<Record<string, Scene>> = {
    'a gateway that wants secrets': {},
    'a gateway that wants certificates, shown one of ECDSA': byCertificate,
    'a gateway that wants certificates, shown one of RSA': {
      ...byCertificate,
      initiator: { id: 'rsa@example', auth: 'pubkey', holder: rsa },
    },
    'a gateway that takes either': { ...byCertificate, wants: anyOf('any') },
  };

  test.each(Object.entries(scenes))('%s: none of them proves anything', (_what, scene) => {
    const { right } = play(scene);
    const { ask, store } = asked.get(right)!;
    expect(store.verify(ask, NOW).ok).toBe(true);
    for (const method of METHODS) {
      for (const data of PROOFS) {
        const verdict = store.verify({ ...ask, method, data }, NOW);
        expect(verdict.ok || verdict.error.code === 'INTERNAL_ERROR', `method ${method}, ${toHex(data).slice(0, 40)}`).toBe(false);
      }
    }
  });

  test.each(METHODS)('method %i, end to end: a gateway lets nobody in', (method) => {
    for (const scene of Object.values(scenes)) {
      const world = play({ ...scene, filter: meddling('left', withAuth(method, PROOFS[method % PROOFS.length])) });
      expect([world.right.has('ike-up'), world.right.has('peer'), world.right.children.size]).toEqual([[], [], 0]);
    }
  });

  test.each(METHODS)('method %i, end to end: a client believes no gateway, and tells it', (method) => {
    const world = play({ filter: meddling('right', withAuth(method, PROOFS[method % PROOFS.length])) });
    expect([world.left.has('ike-up'), world.left.children.size]).toEqual([[], 0]);
    expect(world.right.has('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_AUTHENTICATION_FAILED']);
  });

  test('nor with the AUTH of the other end, or of another time', () => {
    const before = play({ seed: 'another time' });
    const old = before.meddler.open(before.left.sent[1]!.data)!.payloads.find((p) => p.kind === 'AUTH')!;
    const world = play({ filter: meddling('left', withAuth(old.method, old.data)) });
    expect(establishedSas(world.right)).toEqual([]);
    const mirrored = play({ filter: mirror });
    expect(establishedSas(mirrored.left)).toEqual([]);
  });
});

describe('CVE-2023-26463: the key of one chain, the certificates of another', () => {
  const good = cert(alice.certificate.der);
  const issuing = cert(sub.certificate.der);
  const bad = cert(mallory.certificate.der);
  const elsewhere = cert(foreign.certificate.der);
  const orders = permutations([good, issuing, bad, elsewhere]);

  test('signed by a stranger, the certificates in any order', () => {
    for (const certs of orders) {
      const filter = meddling('left', (payloads, world) => withCerts(...certs)(signedBy(mallory)(payloads, world)));
      const world = play({ ...byCertificate, filter });
      expect([world.right.has('ike-up'), world.right.has('peer')]).toEqual([[], []]);
    }
  });

  test('signed rightly, with strange ones among the certificates: only the first one counts', () => {
    for (const certs of orders) {
      const world = play({ ...byCertificate, filter: meddling('left', withCerts(...certs)) });
      expect(establishedSas(world.right)).toHaveLength(certs[0] === good ? 1 : 0);
    }
  });

  test('an authority of ours, sent as if it were the peer', () => {
    const world = play({ ...byCertificate, filter: meddling('left', withCerts(cert(ca.certificate.der), issuing, good)) });
    expect(world.right.has('ike-up')).toEqual([]);
  });

  test('hundreds of certificates: bounded work, and no way in', () => {
    const many = Array.from({ length: 120 }, () => bad);
    expectAtOnce(() => {
      const world = play({ ...byCertificate, filter: meddling('left', withCerts(...many)) });
      expect(world.right.has('ike-up')).toEqual([]);
    }, 1000);
  });
});

/** Octets of an IKE_AUTH response that holds the notify alone. */
const REFUSAL = 28 + 4 + 8 + 8 + 1 + 16;

/** The gateway answers with the client's own proof. */
function mirror(world: Trio): Filter {
  let theirs: Extract<Payload, { kind: 'AUTH' }> | undefined;
  return (datagram, sender) => {
    if (datagram.data[18] !== ExchangeType.IKE_AUTH) return datagram;
    if (sender === world.left) {
      theirs = world.meddler.open(datagram.data)!.payloads.find((p) => p.kind === 'AUTH');
      return datagram;
    }
    return world.meddler.rewrite(datagram, withAuth(theirs!.method, theirs!.data));
  };
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) => permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]));
}

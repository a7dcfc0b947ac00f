import { AuthenticationFailure, concat, formatIp, parseIp, toHex, tryParseIp, utf8 } from '../core/bytes/index.ts';
import {
  chooseScheme,
  equalSecrets,
  exportSpki,
  type KeyObject,
  keyExchange,
  PRIMITIVES,
  type Primitives,
  PuzzleSearch,
  pskAuth,
  publicKeyOf,
  signAuth,
  verifyAuth,
} from '../core/crypto/index.ts';
import type { Ask, AskAnswers, AskResult } from '../core/ike/index.ts';
import { keyIdentity, matchIdentity } from '../core/pki/index.ts';
import {
  AuthMethod,
  CertEncoding,
  ConfigAttributeType,
  formatIdentification,
  type Identification,
  IdType,
  PpkIdType,
} from '../core/wire/index.ts';
import { SeededRandom } from './seeded.ts';
import type { PeerPlane } from './simulated-plane.ts';

/** How a simulated host proves who it is. */
export interface SimulatedIdentity {
  readonly id: Identification;
  readonly psk: Uint8Array;
  /** Post-quantum pre-shared keys by their ids (RFC 8784). */
  readonly ppks?: Readonly<Record<string, Uint8Array>> | undefined;
  /** Peers that sign are known by their keys, whatever they call themselves (RFC 7670). */
  readonly pinsKeys?: boolean | undefined;
  /** Signs instead of using the PSK where the policy says `pubkey`. */
  readonly privateKey?: KeyObject | undefined;
  /** Octets of certificates that go along with AUTH: nobody reads them, but they make the message long. */
  readonly certificateOctets?: number | undefined;
}

/** Public keys by identity: what certificates would prove. Shared by all hosts of one world. */
export class KeyDirectory {
  readonly #keys = new Map<string, KeyObject>();

  add({ id, privateKey }: SimulatedIdentity): void {
    if (privateKey !== undefined) this.#keys.set(keyOf(id), publicKeyOf(privateKey));
  }

  find(id: Identification): KeyObject | undefined {
    return this.#keys.get(keyOf(id));
  }
}

/** Inner addresses that are lent to peers, one per family and IKE SA. */
export class SimulatedPool {
  readonly #addresses: readonly string[];
  readonly #lent = new Map<string, number>();
  /** Held by a second IKE SA, while a peer authenticates anew. */
  readonly #also = new Map<string, number>();

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses;
  }

  get lent(): ReadonlyMap<string, number> {
    return this.#lent;
  }

  lease(ikeSa: number, octets: 4 | 16, wanted?: string, alongside: readonly number[] = []): string | undefined {
    if (wanted !== undefined && alongside.includes(this.#lent.get(wanted) ?? -1)) {
      this.#also.set(wanted, ikeSa);
      return wanted;
    }
    const free = this.#addresses.find((ip) => parseIp(ip).length === octets && !this.#lent.has(ip));
    if (free !== undefined) this.#lent.set(free, ikeSa);
    return free;
  }

  release(ikeSa: number): void {
    for (const [ip, second] of this.#also) {
      if (second !== ikeSa && this.#lent.get(ip) !== ikeSa) continue;
      if (second !== ikeSa) this.#lent.set(ip, second);
      this.#also.delete(ip);
    }
    for (const [ip, owner] of this.#lent) if (owner === ikeSa) this.#lent.delete(ip);
  }
}

/** How a simulated host finds a gateway it is redirected to. */
export interface SimulatedPaths {
  lookup(name: string): string | undefined;
  /** The own address from which a remote one is reached; undefined where there is no way. */
  from(remoteIp: string): string | undefined;
}

/** Answers what the core asks, from memory and at once. */
export class SimulatedAnswers {
  readonly identity: SimulatedIdentity;
  readonly #directory: KeyDirectory;
  readonly #pool: SimulatedPool;
  readonly #plane: Pick<PeerPlane, 'install' | 'lastUse'>;

  readonly #paths: SimulatedPaths;
  readonly #prf: Primitives['prf'];

  constructor(
    identity: SimulatedIdentity,
    directory: KeyDirectory,
    pool: SimulatedPool,
    plane: Pick<PeerPlane, 'install' | 'lastUse'>,
    paths: SimulatedPaths = NO_PATHS,
    { prf }: Primitives = PRIMITIVES,
  ) {
    this.#prf = prf;
    this.#paths = paths;
    this.identity = identity;
    this.#directory = directory;
    this.#pool = pool;
    this.#plane = plane;
    directory.add(identity);
  }

  answer(ask: Ask, ikeSa: number): AskResult {
    switch (ask.kind) {
      case 'authenticate':
        return this.#authenticate(ask);
      case 'verify':
        return this.#verify(ask);
      case 'ppk':
        return this.#ppk(ask);
      case 'authorise':
        return { ok: true };
      case 'key-exchange':
        return { ok: true, ...keyExchange(ask.method)!.accept(ask.peerPublic, ask.seed) };
      case 'solve-puzzle': {
        const solution = new PuzzleSearch(this.#prf(ask.prf)!, ask.difficulty, ask.octets).run(MOST_TRIED);
        return solution ? { ok: true, solution } : refuse('the puzzle is too hard');
      }
      case 'approach':
        return this.#approach(ask.gateway);
      case 'connect':
        return refuse('this machine opens no streams');
      case 'lease':
        return this.#lease(ask, ikeSa);
      case 'install':
        this.#plane.install(ask.spec);
        return { ok: true };
      case 'last-use':
        return { ok: true, at: this.#plane.lastUse(ask.child) };
    }
  }

  /** Ports are those of `Peer`: 500 on both ends. */
  #approach(gateway: string): AskAnswers['approach'] {
    const ip = tryParseIp(gateway) === undefined ? this.#paths.lookup(gateway) : gateway;
    if (ip === undefined) return refuse(`${gateway} has no address`);
    const from = this.#paths.from(ip);
    return from === undefined ? refuse(`no way to ${ip}`) : { ok: true, local: { ip: from, port: 500 }, remote: { ip, port: 500 } };
  }

  #authenticate(ask: Extract<Ask, { kind: 'authenticate' }>): AskAnswers['authenticate'] {
    const id = ask.auth.id ?? this.identity.id;
    const octets = ask.octets(id);
    const { privateKey, psk, certificateOctets } = this.identity;
    const certificates =
      certificateOctets === undefined
        ? []
        : [
            {
              encoding: CertEncoding.X509_SIGNATURE,
              data: new SeededRandom(formatIdentification(id), 'certificate').bytes(certificateOctets),
            },
          ];
    if (ask.auth.auth === 'psk')
      return { ok: true, id, method: AuthMethod.SHARED_KEY_MIC, data: pskAuth(this.#prf(ask.prf)!, psk, octets), certificates };
    if (privateKey === undefined) return refuse('this host has no private key');
    // RSASSA-PSS and ECDSA draw randomness of their own, which no seed replays.
    const scheme = chooseScheme({
      key: privateKey,
      peerHashes: ask.peerHashes,
      restrict: ['ed25519', 'rsa-pkcs1', ...(ask.auth.schemes ?? [])],
    });
    if (scheme === undefined) return refuse('no signature scheme is left');
    return { ok: true, id, method: scheme.authMethod, data: signAuth(privateKey, scheme, octets), certificates };
  }

  #verify(ask: Extract<Ask, { kind: 'verify' }>): AskAnswers['verify'] {
    let why: string | undefined;
    for (const { connection, remote } of ask.candidates) {
      if (!matchIdentity(remote.id, ask.id)) continue;
      if (remote.auth === 'psk' && ask.method === AuthMethod.SHARED_KEY_MIC) {
        const good = equalSecrets(pskAuth(this.#prf(ask.prf)!, this.identity.psk, ask.octets), ask.data);
        return good ? { ok: true, connection, description: 'psk' } : refuse('the PSK is another one');
      }
      const publicKey = this.#directory.find(ask.id);
      if (remote.auth !== 'pubkey' || publicKey === undefined || ask.method === AuthMethod.SHARED_KEY_MIC) continue;
      const { method, data, octets } = ask;
      const verdict = verifyAuth({ method, data, publicKey, octets, restrict: remote.schemes });
      const id = this.identity.pinsKeys ? { id: keyIdentity(exportSpki(publicKey)) } : {};
      if (verdict.ok) return { ok: true, connection, description: verdict.scheme, ...id };
      why ??= verdict.reason;
    }
    return refuse(why ?? 'no connection is for this peer');
  }

  #ppk(ask: Extract<Ask, { kind: 'ppk' }>): AskAnswers['ppk'] {
    for (const [id, secret] of Object.entries(this.identity.ppks ?? {})) {
      const fitting = ask.candidates.filter(({ ppk }) => matchIdentity(ppk.id, { idType: IdType.ID_FQDN, data: utf8(id) }));
      const wire = concat(Uint8Array.of(PpkIdType.PPK_ID_FIXED), utf8(id));
      if (fitting.length === 0 || (ask.id !== undefined && !equalSecrets(ask.id, wire))) continue;
      return { ok: true, id: wire, secret: secret.slice(), connections: fitting.map(({ connection }) => connection) };
    }
    return refuse('there is no such PPK');
  }

  #lease(ask: Extract<Ask, { kind: 'lease' }>, ikeSa: number): AskAnswers['lease'] {
    const attributes: { type: number; value: Uint8Array }[] = [];
    const addresses: string[] = [];
    for (const { type, value } of ask.requested) {
      const octets = ADDRESS_OCTETS[type];
      const wanted = octets !== undefined && value.length >= octets ? formatIp(value.subarray(0, octets)) : undefined;
      const ip = octets === undefined ? undefined : this.#pool.lease(ikeSa, octets, wanted, ask.alongside);
      if (ip === undefined) continue;
      addresses.push(ip);
      // RFC 7296 §3.15.1: an IPv6 address goes with its prefix length.
      attributes.push({ type, value: octets === 4 ? parseIp(ip) : concat(parseIp(ip), Uint8Array.of(128)) });
    }
    return addresses.length > 0 ? { ok: true, attributes, addresses } : refuse('no address is free');
  }
}

/** Keys for a puzzle: enough for 14 zero bits. */
const MOST_TRIED = 500_000;

function keyOf(id: Identification): string {
  return `${id.idType}:${toHex(id.data)}`;
}

function refuse(why: string): { readonly ok: false; readonly error: AuthenticationFailure } {
  return { ok: false, error: new AuthenticationFailure(why, { code: 'SIMULATED_REFUSAL' }) };
}

const ADDRESS_OCTETS: Readonly<Record<number, 4 | 16>> = {
  [ConfigAttributeType.INTERNAL_IP4_ADDRESS]: 4,
  [ConfigAttributeType.INTERNAL_IP6_ADDRESS]: 16,
};
const NO_PATHS: SimulatedPaths = { lookup: () => undefined, from: () => undefined };

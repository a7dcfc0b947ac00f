import { concat, equalBytes, fromUtf8, toHex, utf8 } from '../../bytes/bytes.ts';
import { TunnelwrightError } from '../../bytes/errors.ts';
import { Reader } from '../../bytes/reader.ts';
import { Writer } from '../../bytes/writer.ts';
import { createPacketCipher, prf, prfPlus, type RandomSource, sha256, zeroise } from '../../crypto/index.ts';
import { EncryptionId, type Identification, PrfId } from '../../wire/index.ts';
import type { IkeSuite } from '../keys.ts';
import type { Connection } from '../policy.ts';

/** What a ticket holds (RFC 5723 §5): all that another IKE SA is made of. Times are wall clock, milliseconds since 1970. */
export interface TicketState {
  readonly connection: string;
  /** Of the connection when the peer was authenticated: a changed one does not take the ticket. */
  readonly policy: Uint8Array;
  readonly suite: IkeSuite;
  readonly SK_d: Uint8Array;
  /** Who asked for the ticket, and who gave it. */
  readonly takerId: Identification;
  readonly giverId: Identification;
  readonly takerAuth: string;
  readonly giverAuth: string;
  /** Of the IKE SA it was given on. */
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  readonly authenticatedAt: number;
  readonly expires: number;
}

/**
 * Makes and opens tickets by value (RFC 5723 §6.1, appendix A.1), and remembers which may not be used again.
 *
 *     version (1) | key (4) | salt (16) | IV (8) | AES-256-GCM of the state | ICV (16)
 *
 * The number of the key is that of a half day; each ticket has a key of its own, drawn from that key and the salt, so no IV is used twice.
 */
export class TicketOffice {
  readonly #secret: Uint8Array;
  /** What the keys are made of; most endpoints never give a ticket. */
  #root: Uint8Array | undefined;
  readonly #random: RandomSource;
  /** Tickets that were used or revoked, until they expire by themselves. */
  readonly #spent = new Map<string, number>();

  /** @param secret what outlives a restart; without one, tickets end with this life */
  constructor(random: RandomSource, secret: Uint8Array | undefined) {
    this.#random = random;
    this.#secret = secret ?? random.secret(32);
  }

  seal(state: TicketState, wall: number): Uint8Array {
    const body = write(state);
    const head = new Writer(HEAD)
      .u8(VERSION)
      .u32(Math.floor(wall / KEY_LIFE))
      .bytes(this.#random.secret(SALT))
      .finish();
    const ticket = concat(head, new Uint8Array(IV), body, new Uint8Array(ICV));
    this.#with(head, (cipher) => cipher.seal(ticket, 0, HEAD, ticket.length - ICV));
    zeroise(body);
    return ticket;
  }

  /** @returns undefined for what is forged, expired or was used before. Never throws for what is in it. */
  open(ticket: Uint8Array, wall: number): TicketState | undefined {
    if (ticket.length < HEAD + IV + ICV || ticket.length > LARGEST || ticket[0] !== VERSION) return undefined;
    const age = Math.floor(wall / KEY_LIFE) - new Reader(ticket.subarray(1, 5)).u32('key');
    // §6.2: a key lives longer than what it protects
    if (age < 0 || age > MOST_KEYS || this.#spent.has(ticketId(ticket))) return undefined;
    const copy = ticket.slice();
    const end = this.#with(copy.subarray(0, HEAD), (cipher) => cipher.open(copy, 0, HEAD, copy.length));
    if (end < 0) return undefined;
    const state = read(copy.subarray(HEAD + IV, end));
    zeroise(copy);
    if (state === undefined || state.expires > wall) return state;
    zeroise(state.SK_d);
    return undefined;
  }

  /** For the next life: what it may not take either. */
  get spent(): readonly (readonly [id: string, expires: number])[] {
    return [...this.#spent];
  }

  /** §4.3.1, §9.8: it was used, or the IKE SA it belongs to was deleted. */
  spend(id: string, expires: number, wall: number): void {
    this.#spent.delete(id);
    this.#spent.set(id, expires);
    for (const [oldest, until] of this.#spent) {
      if (until > wall && this.#spent.size <= MOST_SPENT) break;
      this.#spent.delete(oldest);
    }
  }

  #with<T>(head: Uint8Array, work: (cipher: ReturnType<typeof createPacketCipher>) => T): T {
    this.#root ??= hash.compute(this.#secret, utf8('tickets of IKEv2 session resumption'));
    const period = hash.compute(this.#root, head.subarray(0, HEAD - SALT));
    const encryptionKey = prfPlus(hash, period, head.subarray(HEAD - SALT), KEY);
    const cipher = createPacketCipher({ encryption: EncryptionId.ENCR_AES_GCM_16, keyLength: 256, encryptionKey });
    try {
      return work(cipher);
    } finally {
      cipher.destroy();
      zeroise(period, encryptionKey);
    }
  }
}

/** Names a ticket without being one. */
export const ticketId = (ticket: Uint8Array): string => toHex(sha256(ticket).subarray(0, 16));

/** What a peer was authenticated against: with another answer to "who are you", or other suites, it has to come the long way. */
export function policyDigest({ name, proposals, local, remote, ppk }: Connection): Uint8Array {
  const text = JSON.stringify({ name, proposals, local, remote, ppk }, (_, value: unknown) =>
    value instanceof Uint8Array ? toHex(value) : value,
  );
  return sha256(utf8(text)).subarray(0, DIGEST);
}

export const samePolicy = (state: TicketState, connection: Connection): boolean => equalBytes(state.policy, policyDigest(connection));

function write(state: TicketState): Uint8Array {
  const w = new Writer();
  const octets = (data: Uint8Array) => w.u16(data.length).bytes(data);
  const identity = ({ idType, data }: Identification) => octets(concat(Uint8Array.of(idType), data));
  const { encryption, keyLength, integrity, prf: f, keyExchange, additional = [] } = state.suite;
  w.u64(BigInt(Math.round(state.expires))).u64(BigInt(Math.round(state.authenticatedAt)));
  for (const id of [encryption, keyLength ?? 0, integrity, f, keyExchange]) w.u16(id);
  w.u8(additional.length);
  for (const { type, method } of additional) w.u8(type).u16(method);
  w.bytes(state.policy).bytes(state.spiI).bytes(state.spiR);
  for (const text of [state.connection, state.takerAuth, state.giverAuth]) octets(utf8(text));
  identity(state.takerId);
  identity(state.giverId);
  octets(state.SK_d);
  return w.finish();
}

/** Authentic by now; of another version all the same it might be. */
function read(body: Uint8Array): TicketState | undefined {
  try {
    const r = new Reader(body);
    const octets = () => r.bytes(r.u16('length'), 'octets').slice();
    const identity = (): Identification => {
      const data = octets();
      return { idType: data[0] ?? 0, data: data.subarray(1) };
    };
    const [expires, authenticatedAt] = [Number(r.u64('expires')), Number(r.u64('authenticated'))];
    const [encryption, keyLength, integrity, f, keyExchange] = [r.u16('ENCR'), r.u16('bits'), r.u16('INTEG'), r.u16('PRF'), r.u16('KE')];
    const additional = Array.from({ length: r.u8('additional') }, () => ({ type: r.u8('type'), method: r.u16('method') }));
    const suite: IkeSuite = {
      encryption,
      keyLength: keyLength === 0 ? undefined : keyLength,
      integrity,
      prf: f,
      keyExchange,
      ...(additional.length > 0 ? { additional } : {}),
    };
    const [policy, spiI, spiR] = [r.bytes(DIGEST, 'policy').slice(), r.bytes(8, 'SPIi').slice(), r.bytes(8, 'SPIr').slice()];
    const [connection, takerAuth, giverAuth] = [fromUtf8(octets()), fromUtf8(octets()), fromUtf8(octets())];
    const [takerId, giverId, SK_d] = [identity(), identity(), octets()];
    r.end('the ticket');
    return { connection, policy, suite, SK_d, takerId, giverId, takerAuth, giverAuth, spiI, spiR, authenticatedAt, expires };
  } catch (error) {
    if (error instanceof TunnelwrightError) return undefined;
    throw error;
  }
}

const hash = prf(PrfId.PRF_HMAC_SHA2_256)!;
const VERSION = 1;
const SALT = 16;
const HEAD = 1 + 4 + SALT;
const IV = 8;
const ICV = 16;
/** Key and salt of AES-256-GCM (RFC 5282 §7.1). */
const KEY = 36;
const DIGEST = 16;
/** Identities may be long names; nothing else is. */
const LARGEST = 4096;
const KEY_LIFE = 12 * 3_600_000;
/** No ticket lives longer than a day. */
const MOST_KEYS = 3;
const MOST_SPENT = 65_536;

import { concat, utf8, Writer } from '../../src/core/bytes/index.ts';
import { createPacketCipher, keyExchange, type PacketCipher, prf, prfPlus, pskAuth } from '../../src/core/crypto/index.ts';
import type { IkeKeyLog } from '../../src/core/ike/index.ts';
import {
  ExchangeType,
  IdType,
  type IkeHeader,
  type Message,
  openMessage,
  type Payload,
  PayloadType,
  type Proposal,
  parseMessage,
  sealMessage,
  type TrafficSelector,
  writeMessage,
  writePayloads,
} from '../../src/core/wire/index.ts';
import { espProposal, ikeProposal, type Net, type Peer, SeededRandom, subnet } from '../../src/testing/index.ts';

/** Both directions of an IKE SA's protection, from a key log. */
class SaCiphers {
  readonly initiator: PacketCipher;
  readonly responder: PacketCipher;
  #iv = 0x7000_0000;

  constructor({ encryption, keyLength, integrity, SK_ei, SK_er, SK_ai, SK_ar }: IkeKeyLog) {
    const common = { encryption, keyLength, integrity };
    this.initiator = createPacketCipher({ ...common, encryptionKey: SK_ei, integrityKey: SK_ai });
    this.responder = createPacketCipher({ ...common, encryptionKey: SK_er, integrityKey: SK_ar });
  }

  seal(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
    const cipher = header.flags.initiator ? this.initiator : this.responder;
    // Far from the counters of the real sender.
    const iv = (length: number): Uint8Array => {
      const octets = new Uint8Array(length);
      new DataView(octets.buffer).setUint32(length - 4, this.#iv++);
      return octets;
    };
    return sealMessage(header, payloads, { cipher, iv });
  }
}

/** Speaks in the name of one end of an endpoint's IKE SA, whose keys it has from its log: authentic messages that no real endpoint would send. */
export class Insider {
  readonly #initiator: boolean;
  readonly #log: IkeKeyLog;
  readonly #ciphers: SaCiphers;

  constructor(logger: Peer, as: 'initiator' | 'responder' = 'initiator') {
    this.#initiator = as === 'initiator';
    this.#log = logger.heard('ike-keys').at(-1)!.keys;
    this.#ciphers = new SaCiphers(this.#log);
  }

  /** A protected request with this Message ID. */
  request(exchange: number, messageId: number, payloads: readonly Payload[], header: Partial<IkeHeader> = {}): Uint8Array {
    const { spiI, spiR } = this.#log;
    const flags = { initiator: this.#initiator, response: false, version: false, ...header.flags };
    return this.#ciphers.seal({ spiI, spiR, majorVersion: 2, minorVersion: 0, exchange, messageId, ...header, flags }, payloads);
  }

  /** What `data`, sent by either end, holds. */
  open(data: Uint8Array): readonly Payload[] {
    const message = parseMessage(data);
    const cipher = message.header.flags.initiator ? this.#ciphers.initiator : this.#ciphers.responder;
    return openMessage(message, cipher)!.payloads;
  }
}

/** What a raw initiator sends may be changed before it is sent, and signed as it was sent. */
export interface RawOptions {
  readonly init?: (message: Uint8Array) => Uint8Array;
  readonly initPayloads?: (payloads: readonly Payload[]) => readonly Payload[];
  readonly authPayloads?: (payloads: readonly Payload[]) => readonly Payload[];
  readonly authHeader?: Partial<IkeHeader>;
  readonly proposal?: Proposal;
  readonly psk?: Uint8Array;
  /** NULL authentication under ID_NULL (RFC 7619). */
  readonly anonymous?: boolean;
  /** The three RESERVED octets of IDi, covered by AUTH. */
  readonly reserved?: Uint8Array;
  readonly localTs?: readonly TrafficSelector[];
  readonly remoteTs?: readonly TrafficSelector[];
}

/**
 * An initiator made by hand of RFC 7296 §2.14 and §2.15, that shares no code with the endpoint beyond octets and primitives: it can do what an
 * endpoint never would, and it checks the endpoint's keys from outside.
 */
export class RawInitiator {
  readonly responses: Message[] = [];
  readonly #net: Net;
  readonly #target: Peer;
  readonly #options: RawOptions;
  readonly #random: SeededRandom;
  readonly #spiI: Uint8Array;
  readonly #nonce: Uint8Array;
  readonly #offer;
  readonly #inner = espProposal('aes128gcm16-noesn');
  #init = new Uint8Array(0);
  #initResponse: Message | undefined;
  #log: (IkeKeyLog & { readonly SK_d: Uint8Array; readonly SK_pi: Uint8Array; readonly SK_pr: Uint8Array }) | undefined;
  #ciphers: SaCiphers | undefined;
  /** RFC 9242 §3.3.2: IntAuth_i and IntAuth_r so far. */
  #intAuth: readonly [Uint8Array, Uint8Array] = [new Uint8Array(0), new Uint8Array(0)];
  #nextId = 1;

  constructor(net: Net, target: Peer, options: RawOptions = {}, address = '203.0.113.50') {
    this.#net = net;
    this.#target = target;
    this.#options = options;
    this.#random = new SeededRandom(net.seed, `raw ${address}`);
    this.#spiI = this.#random.bytes(8);
    this.#nonce = this.#random.bytes(32);
    this.#offer = keyExchange(X25519)!.offer(this.#random.bytes(32));
    this.address = address;
    net.internet.host(`raw ${address}`, { addresses: [address] }).bind(500, (packet) => this.responses.push(parseMessage(packet.data)));
  }

  readonly address: string;

  /** Sends and lets the world answer. @returns the answers that came. */
  send(data: Uint8Array): readonly Message[] {
    const before = this.responses.length;
    this.#target.inject(data, { ip: this.address, port: 500 });
    this.#net.run(100);
    return this.responses.slice(before);
  }

  header(exchange: number, messageId: number, spiR: Uint8Array, changes: Partial<IkeHeader> = {}): IkeHeader {
    const flags = { initiator: true, response: false, version: false };
    return { spiI: this.#spiI, spiR, majorVersion: 2, minorVersion: 0, exchange, messageId, flags, ...changes };
  }

  initMessage(): Uint8Array {
    const payloads: Payload[] = [
      { kind: 'SA', proposals: [this.#options.proposal ?? ikeProposal('aes128gcm16-prfsha256-x25519')] },
      { kind: 'KE', method: X25519, data: this.#offer.publicValue },
      { kind: 'Nonce', data: this.#nonce },
    ];
    const message = writeMessage(
      this.header(ExchangeType.IKE_SA_INIT, 0, new Uint8Array(8)),
      this.#options.initPayloads?.(payloads) ?? payloads,
    );
    return this.#options.init?.(message.slice()) ?? message;
  }

  /** IKE_SA_INIT; true when the responder agreed and there are keys. */
  init(): boolean {
    this.#init = this.initMessage().slice();
    const answer = this.send(this.#init).at(-1);
    const theirs = answer?.payloads.find((payload) => payload.kind === 'KE');
    const nonce = answer?.payloads.find((payload) => payload.kind === 'Nonce');
    if (answer === undefined || theirs === undefined || nonce === undefined) return false;
    this.#initResponse = answer;
    const hash = prf(PRF_SHA2_256)!;
    const nonces = concat(this.#nonce, nonce.data);
    this.#derive(hash.compute(nonces, this.#offer.finish(theirs.data)), nonces, answer.header.spiR);
    return true;
  }

  #derive(seed: Uint8Array, nonces: Uint8Array, spiR: Uint8Array): void {
    // RFC 7296 §2.14 for AEAD: SK_d 32, SK_ei and SK_er 16 + 4, SK_pi and SK_pr 32.
    const stream = prfPlus(prf(PRF_SHA2_256)!, seed, concat(nonces, this.#spiI, spiR), 32 + 20 + 20 + 32 + 32);
    this.#log = {
      spiI: this.#spiI,
      spiR,
      encryption: 20,
      keyLength: 128,
      integrity: 0,
      SK_ai: new Uint8Array(0),
      SK_ar: new Uint8Array(0),
      SK_ei: stream.slice(32, 52),
      SK_er: stream.slice(52, 72),
      SK_d: stream.slice(0, 32),
      SK_pi: stream.slice(72, 104),
      SK_pr: stream.slice(104, 136),
    };
    this.#ciphers = new SaCiphers(this.#log);
  }

  /**
   * IKE_INTERMEDIATE with a key exchange, or with whatever payloads are given instead; keys and IntAuth follow a good answer.
   * @returns the payloads of the answer, or undefined when none came
   */
  intermediate(method: number | readonly Payload[], alter: (message: Uint8Array) => Uint8Array = (m) => m): readonly Payload[] | undefined {
    const offer = typeof method === 'number' ? keyExchange(method)!.offer(this.#random.bytes(keyExchange(method)!.seedLength)) : undefined;
    const payloads: readonly Payload[] = typeof method === 'number' ? [{ kind: 'KE', method, data: offer!.publicValue }] : method;
    const messageId = this.#nextId;
    const request = this.protect(ExchangeType.IKE_INTERMEDIATE, messageId, payloads);
    const answer = this.send(alter(request)).at(-1);
    const opened = answer && openMessage(answer, this.#ciphers!.responder);
    if (opened === undefined || opened.payloads.some((p) => p.kind === 'N' && p.notify < 16384)) return opened?.payloads;
    const hash = prf(PRF_SHA2_256)!;
    const { SK_d, SK_pi, SK_pr } = this.#log!;
    const chain = new Writer();
    writePayloads(chain, payloads);
    this.#intAuth = [
      hash.compute(SK_pi, this.#intAuth[0], unsealed(request, chain.finish())),
      hash.compute(SK_pr, this.#intAuth[1], unsealed(answer!.raw, opened.plaintext)),
    ];
    this.#nextId++;
    const theirs = opened.payloads.find((payload) => payload.kind === 'KE');
    if (theirs && offer) {
      const nonces = this.#nonces();
      // RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr).
      this.#derive(hash.compute(SK_d, offer.finish(theirs.data), nonces), nonces, this.#log!.spiR);
    }
    return opened.payloads;
  }

  /** RFC 9867 §3.1: N(PPK_IDENTITY_KEY) of this PPK, confirmed by the first octets of prf(PPK, Ni | Nr | SPIi | SPIr). */
  ppkIdentityKey(id: string, PPK: Uint8Array): Payload {
    const seed = concat(this.#nonces(), this.#spiI, this.#log!.spiR);
    const data = concat(Uint8Array.of(PPK_ID_FIXED), utf8(id), prf(PRF_SHA2_256)!.compute(PPK, seed).subarray(0, 8));
    return { kind: 'N', protocol: 0, spi: new Uint8Array(0), notify: 16446, data };
  }

  /** The keys after an IKE_INTERMEDIATE with a PPK: SKEYSEED' = prf+(PPK, SK_d), which for this PRF is prf(PPK, SK_d | 0x01). */
  mixPpk(PPK: Uint8Array): void {
    const SKEYSEED = prf(PRF_SHA2_256)!.compute(PPK, concat(this.#log!.SK_d, Uint8Array.of(1)));
    this.#derive(SKEYSEED, this.#nonces(), this.#log!.spiR);
  }

  #nonces(): Uint8Array {
    const nonce = this.#initResponse!.payloads.find((payload) => payload.kind === 'Nonce')!;
    return concat(this.#nonce, nonce.data);
  }

  /** The payloads of a correct IKE_AUTH request. */
  authPayloads(): readonly Payload[] {
    const { anonymous = false, reserved = new Uint8Array(3) } = this.#options;
    const id = anonymous
      ? { idType: IdType.ID_NULL, data: new Uint8Array(0) }
      : { idType: IdType.ID_FQDN, data: new TextEncoder().encode('raw.example') };
    const nonce = this.#initResponse!.payloads.find((payload) => payload.kind === 'Nonce')!;
    const hash = prf(PRF_SHA2_256)!;
    // RFC 7296 §2.15.
    const macedId = hash.compute(this.#log!.SK_pi, concat(Uint8Array.of(id.idType), reserved, id.data));
    const psk = anonymous ? this.#log!.SK_pi : (this.#options.psk ?? new TextEncoder().encode('the simulated pre-shared key'));
    const payloads: readonly Payload[] = [
      { kind: 'unknown', type: PayloadType.IDi, data: concat(Uint8Array.of(id.idType), reserved, id.data) },
      {
        kind: 'AUTH',
        method: anonymous ? 13 : 2,
        data: pskAuth(hash, psk, concat(this.#init, nonce.data, macedId, this.#intAuthOctets())),
      },
      { kind: 'SA', proposals: [{ ...this.#inner, spi: Uint8Array.of(0xc0, 0, 0, 1), transforms: this.#inner.transforms }] },
      { kind: 'TSi', selectors: this.#options.localTs ?? [subnet('10.1.0.0/24')] },
      { kind: 'TSr', selectors: this.#options.remoteTs ?? [subnet('10.2.0.0/24')] },
    ];
    return this.#options.authPayloads?.(payloads) ?? payloads;
  }

  #intAuthOctets(): Uint8Array {
    return this.#nextId === 1 ? new Uint8Array(0) : concat(...this.#intAuth, Uint8Array.of(0, 0, 0, this.#nextId));
  }

  /** A protected message under the keys of the last exchange. */
  protect(exchange: number, messageId: number, payloads: readonly Payload[], changes: Partial<IkeHeader> = {}): Uint8Array {
    return this.#ciphers!.seal(this.header(exchange, messageId, this.#log!.spiR, changes), payloads);
  }

  /** IKE_AUTH. @returns the payloads of the answer, or undefined when none came. */
  auth(): readonly Payload[] | undefined {
    const answer = this.send(this.protect(ExchangeType.IKE_AUTH, this.#nextId, this.authPayloads(), this.#options.authHeader)).at(-1);
    return answer && openMessage(answer, this.#ciphers!.responder)?.payloads;
  }

  open(message: Message): readonly Payload[] | undefined {
    return openMessage(message, this.#ciphers!.responder)?.payloads;
  }
}

/** RFC 9242 §3.3.2: header and generic header of SK, their lengths without what encryption adds, then what was inside. */
function unsealed(message: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const octets = concat(message.subarray(0, 32), plaintext);
  const view = new DataView(octets.buffer);
  view.setUint32(24, 32 + plaintext.length);
  view.setUint16(30, 4 + plaintext.length);
  return octets;
}

const X25519 = 31;
const PPK_ID_FIXED = 2;
const PRF_SHA2_256 = 5;

import { writeU32 } from '../bytes/bytes.ts';
import { InternalError, type TunnelwrightError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import { NONE } from '../bytes/lists.ts';
import { OctetPool } from '../bytes/octet-pool.ts';
import { type PacketCipher, zeroise } from '../crypto/index.ts';
import type { Identification, IkeHeader } from '../wire/index.ts';
import type { ChildSa } from './child-sa.ts';
import type { AskRank, IkeSaInfo, Millis, PacketSelectors } from './effects.ts';
import type { Reassembly } from './fragments.ts';
import { HalfMadeSas } from './half-made.ts';
import { IKE_SA_TRANSITIONS, type IkeSaState } from './ike-sa-state.ts';
import { type IkeKeys, ikeCipher, withoutProof, zeroiseKeys } from './keys.ts';
import { MessageWindow } from './message-window.ts';
import type { Transport } from './path.ts';
import type { Connection } from './policy.ts';
import { suiteText } from './proposals.ts';
import type { Routine } from './routine.ts';
import type { AuthMaterial } from './signed-octets.ts';
import type { Family } from './tasks/address-families.ts';
import type { AddressPairs } from './tasks/address-pairs.ts';
import { type AuthMethodsState, methodsShown } from './tasks/auth-methods.ts';
import type { CrashState } from './tasks/crash-detection.ts';
import type { EncryptedDns } from './tasks/encrypted-dns.ts';
import type { CounterSync } from './tasks/message-id-sync.ts';
import { type Mobike, mobikeInfo } from './tasks/mobike-state.ts';
import type { PendingEcho } from './tasks/nat-echo.ts';
import type { PpkState } from './tasks/ppk.ts';
import type { Puzzle } from './tasks/puzzle.ts';
import { notAuthenticated } from './tasks/reauthentication.ts';
import type { RedirectState } from './tasks/redirect.ts';
import type { ResumptionState } from './tasks/resumption.ts';
import type { SplitDns } from './tasks/split-dns.ts';
import type { TcpLine } from './tasks/tcp-state.ts';
import { windowInfo } from './tasks/window-size.ts';
import { timerSet } from './timers.ts';

/** One exchange that waits for its turn, or one that runs. */
export interface Job {
  readonly what: string;
  /** Children that it deletes, of which nothing else is left here: a next life has to delete them, too. */
  readonly owes?: readonly { readonly protocol: 'ESP' | 'AH'; readonly spi: number }[];
  /** Jobs of one kind for one object are queued once. */
  readonly key: string;
  /** It creates, rekeys or deletes a child: meanwhile the peer may not rekey the IKE SA (RFC 7296 §2.25.1). */
  readonly ofChild?: boolean;
  /** The policy of the child that it makes from scratch. */
  readonly makes?: string;
  /** The child that it rekeys or deletes, and what that one replaced: one after the other, however large the window. */
  readonly about?: readonly number[];
  /** The IKE SA it runs on is the one that carries it by then: a rekeying hands waiting jobs over. */
  readonly start: (sa: IkeSa) => Routine<void>;
  /** How often it met TEMPORARY_FAILURE. */
  retries?: number;
}

/** The responder's, between IKE_SA_INIT and the end of IKE_AUTH. */
export interface PendingAuth {
  /** Connections that it still considers. */
  readonly candidates: readonly Connection[];
  readonly material: AuthMaterial;
  /** To be solved before anything is opened (RFC 8019 §7.2); undefined once it is. */
  puzzle: Puzzle | undefined;
}

/** What the peer said it can do. */
export interface PeerAbilities {
  fragmentation: boolean;
  /** RFC 6023 §3: takes IKE_AUTH without a first child. */
  childless: boolean;
  /** RFC 9242 §3.1: both ends announced IKE_INTERMEDIATE. */
  intermediate: boolean;
  /** RFC 7427 §4: undefined until SIGNATURE_HASH_ALGORITHMS came. */
  hashes: readonly number[] | undefined;
  /** CERTREQ: SHA-1 of the SubjectPublicKeyInfo of authorities it trusts (RFC 7296 §3.7). */
  authorities: readonly Uint8Array[];
  certificatesWanted: boolean;
  /** HTTP_CERT_LOOKUP_SUPPORTED: it takes hash and URL for a certificate (RFC 7296 §3.6). */
  looksUp: boolean;
  /** Known products and extensions among its Vendor IDs. */
  vendors?: readonly string[] | undefined;
  /** CERTREQ for raw public keys (RFC 7670 §3). */
  rawKeysWanted: boolean;
}

/** An IKE SA: keys, windows and children under one pair of SPIs. It holds state; what happens to it is written in exchanges/. */
export class IkeSa {
  readonly id: number;
  /** Who sent the first IKE_SA_INIT, or asked for the rekeying that made this SA: decides flag I and the key direction (RFC 7296 §2.2). */
  readonly originalRole: 'initiator' | 'responder';
  readonly spiI: Uint8Array;
  spiR: Uint8Array;
  local: Address;
  remote: Address;
  /** IKE goes through the UDP-encapsulating socket. */
  encap: boolean;
  transport: Transport | undefined;
  /** RFC 9329; undefined as long as TCP is out of the question, shared by a whole line of rekeyings. */
  tcp: TcpLine | undefined;
  /** It began outside of UDP encapsulation and moved into it: then ESP is in UDP only where a NAT asks for it. */
  floated = false;
  /** Other ways to a peer that has not answered yet; undefined where there are none. */
  pairs: AddressPairs | undefined;
  /** RFC 4555, where both ends speak it; one record for a whole line of rekeyings. */
  mobike: Mobike | undefined;
  /** Octets of IP datagrams that pass where the IKE SA is, if they are fewer than the policy says. */
  datagram: number | undefined;
  /** An answer that is to be sent a second time. */
  echo: PendingEcho | undefined;
  /** undefined until the responder knows who is calling. */
  connection: Connection | undefined;
  state: IkeSaState;
  window = new MessageWindow();
  children: readonly ChildSa[] = NONE;
  readonly peer: PeerAbilities = {
    fragmentation: false,
    childless: false,
    intermediate: false,
    hashes: undefined,
    authorities: NONE,
    certificatesWanted: false,
    looksUp: false,
    vendors: undefined,
    rawKeysWanted: false,
  };
  readonly nat = { ours: false, theirs: false, forced: false };
  localId: Identification | undefined;
  remoteId: Identification | undefined;
  localAuth = '';
  remoteAuth = '';
  /** Inner addresses that CFG_REPLY carried, and whose they are. */
  assigned: readonly string[] = NONE;
  assignedToUs = false;
  /** Families that the responder gives addresses of, as it told (RFC 8983). */
  servedFamilies: readonly Family[] | undefined;
  /** RFC 8598; undefined where the gateway said nothing of names. */
  splitDns: SplitDns | undefined;
  /** RFC 9464; undefined where the gateway named no such resolver, or was not asked. */
  encryptedDns: EncryptedDns | undefined;
  /** We asked for a lease on the peer's behalf: it is released once, by the last IKE SA of the line. */
  leased = false;
  readonly bornAt: Millis;
  /** The peer has shown that it receives where it sends from: by a cookie, or by what only the keys could protect. */
  reachable = false;
  establishedAt: Millis | undefined;
  rekeyAt: Millis | undefined;
  /** One record for a whole line of rekeyings. */
  reauth = notAuthenticated();
  /** When a new authentication begins, or is overdue. */
  reauthAt: Millis | undefined;
  lastInbound: Millis | undefined;
  /** Message ID of the newest request of the peer that may have made a CHILD_SA. */
  lastMade: number | undefined;
  /** RFC 6290; undefined without tokens. */
  crash: CrashState | undefined;
  /** RFC 5723. */
  resumption: ResumptionState | undefined;
  /** RFC 6311; undefined where one end did not announce it. */
  sync: CounterSync | undefined;
  /** RFC 5685; undefined where neither end announced it. */
  redirect: RedirectState | undefined;
  /** When an unprotected message last made us ask whether the peer lives. */
  suspectedAt: Millis | undefined;

  jobs: readonly Job[] = NONE;
  /** Jobs that met TEMPORARY_FAILURE and wait for the retry timer. */
  deferred: readonly Job[] = NONE;
  /** Jobs under way. */
  active: readonly Job[] = NONE;
  running = 0;
  /** The packet that asked for a child, until that is proposed. */
  packet: ({ readonly child: string } & PacketSelectors) | undefined;
  /** The child that is being made along with this IKE SA. */
  firstChild: string | undefined;
  cancels: readonly (() => void)[] = NONE;
  /** RFC 9593; undefined where the peer announced nothing. */
  authMethods: AuthMethodsState | undefined;
  /** RFC 8784; undefined where nobody speaks of one. */
  ppk: PpkState | undefined;
  /** RFC 9370 §2.2.4: what the peer has begun by CREATE_CHILD_SA and follows up. */
  readonly halfMade = new HalfMadeSas();
  /** Inbound SPIs that stand in requests of ours which are not answered yet. */
  offeredSpis: readonly { readonly protocol: 'ESP' | 'AH'; readonly spi: number }[] = NONE;
  /** SPIs of the peer that it deleted before the answer came that would have told us of them (RFC 7296 §2.25). */
  deletedEarly: readonly number[] = NONE;
  /** Of encrypted fragments; made with the first of them. */
  reassembly: { readonly requests: Reassembly; readonly responses: Reassembly } | undefined;
  readonly timers: InstanceType<typeof IkeSaTimers>;

  /** Our first IKE_SA_INIT as sent, for AUTH; the responder keeps the one it received. */
  initRequest: Uint8Array | undefined;
  /** The demand for a cookie or another key exchange that it heeds. Copies of ours that were under way bring it again. */
  heeded: Uint8Array | undefined;
  /** Gone once the SA is established. */
  pending: PendingAuth | undefined;
  /** Which IKE SA asked for the leases; an IKE rekey passes them on. */
  leasedAs: number;
  /** Octets of the fragments of the message under reassembly. */
  fragmentOctets = 0;
  /** The operator asked for its end: however it comes, nobody brings it back. */
  unwanted = false;
  /** Why this SA is being deleted, when it is for a failure of its own. */
  failure: TunnelwrightError | undefined;
  /** The lowest nonce of the exchange that made this SA, for RFC 7296 §2.8.2. */
  lowestNonce: Uint8Array | undefined;
  successor: IkeSa | undefined;
  /** Whom this SA replaced, as long as that one may still be there. */
  predecessor: IkeSa | undefined;
  /** A successor that the peer made while our own rekeying was under way. */
  peerSuccessor: IkeSa | undefined;

  #keys: IkeKeys | undefined;
  /** RFC 9242 §3.3.1: a copy of the request whose answer changed the keys is still under the keys before. */
  #former: { readonly receive: PacketCipher; readonly messageId: number } | undefined;
  /** Next counter IV, in two halves of 32 bits; never repeats under one key (RFC 5282 §3.1). */
  #ivHigh = 0;
  #ivLow = 0;

  constructor(fields: {
    id: number;
    originalRole: 'initiator' | 'responder';
    spiI: Uint8Array;
    spiR: Uint8Array;
    local: Address;
    remote: Address;
    encap: boolean;
    transport?: Transport | undefined;
    connection: Connection | undefined;
    state: IkeSaState;
    bornAt: Millis;
  }) {
    this.id = fields.id;
    this.bornAt = fields.bornAt;
    this.leasedAs = fields.id;
    this.originalRole = fields.originalRole;
    this.spiI = SPIS.keep(fields.spiI);
    this.spiR = SPIS.keep(fields.spiR);
    this.local = fields.local;
    this.remote = fields.remote;
    this.encap = fields.encap;
    this.transport = fields.transport;
    this.connection = fields.connection;
    this.state = fields.state;
    this.timers = new IkeSaTimers(fields.id);
  }

  /** The IKE SA at the end of the line of rekeyings: this one, where nothing replaced it. */
  get heir(): IkeSa {
    return this.successor?.heir ?? this;
  }

  /** The peer made it while a rekeying of ours was under way, and which of the two successors stays is not decided yet (RFC 7296 §2.8.2). */
  get isUndecided(): boolean {
    return this.predecessor?.peerSuccessor === this;
  }

  get ownSpi(): Uint8Array {
    return this.originalRole === 'initiator' ? this.spiI : this.spiR;
  }

  get keys(): IkeKeys {
    if (this.#keys === undefined) throw new InternalError(`IKE SA ${this.id} has no keys in state ${this.state}`);
    return this.#keys;
  }

  /** Whose turn it is where there is more to compute than can be computed. */
  get rank(): AskRank {
    if (this.establishedAt !== undefined || this.originalRole === 'initiator') return 'trusted';
    return this.reachable ? 'reachable' : 'stranger';
  }

  get hasKeys(): boolean {
    return this.#keys !== undefined;
  }

  /** Seals with a cipher that is there no longer than that: most IKE SAs are silent most of the time. */
  sealing<T>(use: (cipher: PacketCipher) => T): T {
    return once(ikeCipher(this.keys, this.originalRole), use);
  }

  /** Opens likewise. */
  opening<T>({ messageId, flags }: Pick<IkeHeader, 'messageId' | 'flags'>, use: (cipher: PacketCipher) => T): T {
    const former = this.#former;
    if (former !== undefined && !flags.response && messageId <= former.messageId) return use(former.receive);
    return once(this.#newReceiveCipher(), use);
  }

  /** @param iv first counter IV: not 0 for an SA restored from a snapshot */
  setKeys(keys: IkeKeys, iv?: bigint): void {
    this.#keys = keys;
    this.#ivHigh = iv === undefined ? 0 : Number(iv >> 32n);
    this.#ivLow = iv === undefined ? 0 : Number(iv & 0xffff_ffffn);
  }

  /** The keys change before authentication (RFC 9370 §2.2.2). @param messageId of the exchange that changed them, the last under the old ones */
  changeKeys(keys: IkeKeys, messageId: number): void {
    const old = this.keys;
    this.#former?.receive.destroy();
    // the initiator gets no copies: its window drops what was answered
    if (this.originalRole === 'responder') this.#former = { receive: this.#newReceiveCipher(), messageId };
    const [high, low] = [this.#ivHigh, this.#ivLow];
    this.setKeys(keys);
    this.#ivHigh = high;
    this.#ivLow = low;
    zeroiseKeys(old);
  }

  /** What is derived from here on, and proven by, comes of other keys; messages are protected as before (RFC 8784 §3). */
  changeDerivation({ SK_d, SK_pi, SK_pr }: Pick<IkeKeys, 'SK_d' | 'SK_pi' | 'SK_pr'>): void {
    const { keys } = this;
    this.#keys = { ...keys, SK_d, SK_pi, SK_pr };
    zeroise(keys.SK_d, keys.SK_pi, keys.SK_pr);
  }

  /** It is authenticated, or was made by one that is. */
  forgetProofKeys(): void {
    this.#keys = withoutProof(this.keys);
  }

  counterIv(length: number): Uint8Array {
    const iv = new Uint8Array(length);
    writeU32(iv, length - 8, this.#ivHigh);
    writeU32(iv, length - 4, this.#ivLow);
    this.#ivLow = (this.#ivLow + 1) >>> 0;
    if (this.#ivLow === 0) this.#ivHigh = (this.#ivHigh + 1) >>> 0;
    return iv;
  }

  /** The only way to change state; use `World.transition`, which also notices. */
  enter(to: IkeSaState): IkeSaState {
    const from = this.state;
    if (!IKE_SA_TRANSITIONS[from].includes(to)) throw new InternalError(`IKE SA ${this.id} cannot go from ${from} to ${to}`);
    this.state = to;
    return from;
  }

  /** Asked anew each time: what a routine waited for may have changed the state. */
  is(one: IkeSaState, or?: IkeSaState, other?: IkeSaState, last?: IkeSaState): boolean {
    const { state } = this;
    return state === one || state === or || state === other || state === last;
  }

  /** CREATE_CHILD_SA and INFORMATIONAL belong here only (CVE-2014-2338: never before authentication). */
  get isEstablished(): boolean {
    return this.state === 'established' || this.state === 'rekeying';
  }

  destroyKeys(): void {
    this.#former?.receive.destroy();
    this.#former = undefined;
    if (this.#keys) zeroiseKeys(this.#keys);
    this.#keys = undefined;
    this.halfMade.clear();
    this.reassembly?.requests.clear();
    this.reassembly?.responses.clear();
    this.reassembly = undefined;
  }

  info(): IkeSaInfo {
    return {
      id: this.id,
      connection: this.connection?.name,
      state: this.state,
      role: this.originalRole,
      spiI: this.spiI,
      spiR: this.spiR,
      local: this.local,
      remote: this.remote,
      localId: this.localId,
      remoteId: this.remoteId,
      localAuth: this.localAuth,
      remoteAuth: this.remoteAuth,
      natOurs: this.nat.ours,
      natTheirs: this.nat.theirs,
      transport: this.transport,
      transportReason: this.transport === 'tcp' ? this.tcp?.why : undefined,
      suite: this.#keys ? suiteText(this.#keys.suite) : '',
      fragmentation: this.peer.fragmentation,
      crashTokens: { made: this.crash?.made ?? false, held: (this.crash?.held.length ?? 0) > 0 },
      resumed: this.resumption?.session !== undefined,
      resumable: this.resumption?.given !== undefined || this.resumption?.holds === true,
      ppk: this.ppk?.used,
      authMethods: methodsShown(this),
      redirectable: this.redirect?.peerFollows ?? false,
      redirectedFrom: this.redirect?.from,
      mobike: this.mobike && mobikeInfo(this.mobike),
      window: windowInfo(this.window),
      counterSync: this.sync && { messageIds: this.sync.messageIds, replayCounters: this.sync.replayCounters },
      establishedAt: this.establishedAt,
      rekeyAt: this.rekeyAt,
      reauthAt: this.reauthAt,
      lastInbound: this.lastInbound,
      assigned: this.assigned,
      assignedToUs: this.assignedToUs,
      splitDns: this.splitDns,
      encryptedDns: this.encryptedDns,
      vendors: this.peer.vendors ?? NONE,
      children: this.children.map((child) => child.info()),
    };
  }

  #newReceiveCipher(): PacketCipher {
    return ikeCipher(this.keys, this.originalRole === 'initiator' ? 'responder' : 'initiator');
  }
}

function once<T>(cipher: PacketCipher, use: (cipher: PacketCipher) => T): T {
  try {
    return use(cipher);
  } finally {
    cipher.destroy();
  }
}

const SPIS = new OctetPool();

const IkeSaTimers = timerSet({
  retransmit: 'retransmit',
  'half-open': 'half-open',
  liveness: 'liveness',
  'rekey-ike': 'rekey-ike',
  'expire-ike': 'expire-ike',
  reauthenticate: 'reauthenticate',
  superseded: 'superseded',
  linger: 'linger',
  retry: 'retry',
  redirect: 'redirect',
  'follow-up': 'follow-up',
  paths: 'paths',
  echo: 'echo',
  stream: 'stream',
});

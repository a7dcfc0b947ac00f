import {
  type Address,
  AuthenticationFailure,
  InternalError,
  NegotiationFailure,
  TimedOut,
  TunnelwrightError,
} from '../../core/bytes/index.ts';
import { PuzzleSearch, prf } from '../../core/crypto/index.ts';
import type { Answer, Ask, AskAnswers, AskResult, Millis } from '../../core/ike/effects.ts';
import { NotifyType } from '../../core/wire/iana.ts';
import type { CertPayload } from '../../core/wire/payloads/types.ts';
import type { ChildCounters, DataPlane } from '../dataplane/data-plane.ts';
import type { Clock } from '../platform/clock.ts';
import { unknownPpk } from './credentials/ppk.ts';
import { type AddressRequest, addressRequestOf, type LeaseTable } from './leases.ts';
import { type Computer, compute } from './workers/work.ts';

type Awaitable<T> = T | Promise<T>;
type AskOf<Kind extends Ask['kind']> = Extract<Ask, { kind: Kind }>;

/** Whoever holds the keys and trust anchors. It may live in this thread, a worker or another process. */
export interface Credentials {
  /**
   * @param wallClockMs for the validity of certificates
   * @param computer where signatures are made and judged, if not in this thread
   */
  authenticate(ask: AskOf<'authenticate'>, wallClockMs: number, computer?: Computer): Awaitable<AskAnswers['authenticate']>;
  verify(ask: AskOf<'verify'>, wallClockMs: number, computer?: Computer): Awaitable<AskAnswers['verify']>;
  /** The certificates themselves, where some are named by hash and URL (RFC 7296 §3.6). Absent: such are passed over. */
  lookUp?(certificates: readonly CertPayload[]): Awaitable<readonly CertPayload[]>;
  /** A post-quantum pre-shared key (RFC 8784), a copy of it: the core overwrites what it is given. Absent: there are none. */
  ppk?(ask: AskOf<'ppk'>): Awaitable<AskAnswers['ppk']>;
}

/**
 * The operator's last word on an authenticated peer: undefined lets it in, a string refuses and says why (in our log, not on the wire);
 * `redirect` sends it to another gateway, if it follows redirects (RFC 5685 §6), and else lets it in.
 */
export type Authorise = (peer: AskOf<'authorise'>) => Awaitable<string | { readonly redirect: string } | undefined>;

/**
 * Which addresses a client gets that asks for some: those that are named, of the pools of its connection, and no others; undefined leaves it to
 * the pools; `refuse` gives it none, and says why in our log.
 */
export type ChooseAddress = (request: AddressRequest) => Awaitable<AddressChoice | undefined>;
export type AddressChoice = string | readonly string[] | { readonly refuse: string };

/** What the operator decides beyond the configuration. Who takes 20 s and longer has refused. */
export interface Hooks {
  readonly authorise?: Authorise | undefined;
  readonly chooseAddress?: ChooseAddress | undefined;
}

export interface AskContext {
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly hooks: Hooks;
  readonly leases: LeaseTable;
  readonly install: DataPlane['install'];
  readonly counters: DataPlane['counters'];
  readonly connect: (localIp: string, remote: Address, within: Millis) => Promise<{ readonly local: Address }>;
  readonly approach: (connection: string, gateway: string) => Promise<{ readonly local: Address; readonly remote: Address }>;
  /** Who computes key exchanges and signatures; undefined: this thread, at once. */
  readonly computer?: Computer | undefined;
}

/** Answers what the core asks of the world. Whatever goes wrong becomes a refusal: nothing is thrown. */
export function answerAsk(ask: Ask, ikeSa: number, context: AskContext): Awaitable<AskResult> {
  try {
    const result = dispatch(ask, ikeSa, context);
    return result instanceof Promise ? result.catch(refusal) : result;
  } catch (error) {
    return refusal(error);
  }
}

function dispatch(ask: Ask, ikeSa: number, context: AskContext): Awaitable<AskResult> {
  const { clock, credentials, hooks, install, approach, computer } = context;
  switch (ask.kind) {
    case 'authenticate':
      return credentials.authenticate(ask, clock.wall(), computer);
    case 'verify':
      return then(credentials.lookUp?.(ask.certificates) ?? ask.certificates, (certificates) =>
        credentials.verify(certificates === ask.certificates ? ask : { ...ask, certificates }, clock.wall(), computer),
      );
    case 'key-exchange':
      return then((computer ?? compute)<'key-exchange'>(ask), (made) => ({ ok: true, ...made }));
    case 'solve-puzzle':
      return solvePuzzle(ask, clock);
    case 'approach':
      return then(approach(ask.connection, ask.gateway), ({ local, remote }) => ({ ok: true, local, remote }));
    case 'connect':
      return then(context.connect(ask.localIp, ask.remote, ask.within), ({ local }) => ({ ok: true, local }));
    case 'ppk':
      return credentials.ppk === undefined ? { ok: false, error: unknownPpk(ask) } : credentials.ppk(ask);
    case 'authorise':
      return hooks.authorise === undefined ? { ok: true } : then(inTime('authorise', hooks.authorise(ask), clock), admitted);
    case 'lease':
      return lease(ikeSa, ask, context);
    case 'install':
      return then(install(ask.spec), () => ({ ok: true }));
    case 'last-use':
      return { ok: true, at: lastUse(context.counters(ask.child)) };
  }
}

/** In portions between which everything else goes on; it ends with the Ask at the latest. */
function solvePuzzle({ prf: id, difficulty, octets }: AskOf<'solve-puzzle'>, clock: Clock): Promise<AskAnswers['solve-puzzle']> {
  const transform = prf(id);
  if (transform === undefined) throw new InternalError(`PRF ${id} was taken for a puzzle and is not known`);
  const search = new PuzzleSearch(transform, difficulty, octets);
  const until = clock.now() + PUZZLE_WITHIN;
  return new Promise((resolve) => {
    const go = (): void => {
      const solution = search.run(PUZZLE_PORTION);
      if (solution !== undefined) resolve({ ok: true, solution });
      else if (search.exhausted || clock.now() > until) resolve({ ok: false, error: unsolved(difficulty) });
      else clock.soon(go);
    };
    clock.soon(go);
  });
}

const unsolved = (difficulty: number): TimedOut =>
  new TimedOut(`a puzzle of ${difficulty} zero bits was not solved within ${PUZZLE_WITHIN / 1000} s`, {
    code: 'PUZZLE_UNSOLVED',
    hint: 'Try again later: the gateway sets puzzles while it is under attack.',
  });

function lease(ikeSa: number, ask: AskOf<'lease'>, { clock, leases, hooks }: AskContext): Awaitable<AskAnswers['lease']> {
  const { chooseAddress } = hooks;
  const request = addressRequestOf(ask);
  if (chooseAddress === undefined || request.families.length === 0) return leases.lease(ikeSa, ask);
  return then(inTime('chooseAddress', chooseAddress(request), clock), (choice) => {
    if (choice === undefined) return leases.lease(ikeSa, ask);
    if (typeof choice === 'object' && 'refuse' in choice) throw addressRefused(choice.refuse);
    return leases.leaseThese(ikeSa, ask, typeof choice === 'string' ? [choice] : choice);
  });
}

function addressRefused(why: string): NegotiationFailure {
  return new NegotiationFailure(`the hook chooseAddress gives no address: ${why}`, {
    code: 'ADDRESS_REFUSED',
    section: 'RFC 7296 §3.15.4',
    notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    hint: 'The hook decides who gets an address; change it there.',
  });
}

/** The peer waits meanwhile, and repeats its request: what takes longer would find nobody any more. */
function inTime<T>(hook: string, value: Awaitable<T>, clock: Clock): Awaitable<T> {
  if (!(value instanceof Promise)) return value;
  return new Promise((resolve, reject) => {
    const late = (): void =>
      reject(
        new TimedOut(`the hook ${hook} gave no answer within ${HOOK_WITHIN / 1000} s`, {
          code: 'HOOK_TIMEOUT',
          hint: 'Let it answer sooner: from a cache, or with a limit on what it asks.',
        }),
      );
    const timer = clock.after(HOOK_WITHIN, late);
    value.then(resolve, reject).finally(() => timer.cancel());
  });
}

function lastUse(counters: ChildCounters | undefined): Millis | undefined {
  const times = [counters?.inbound.lastUse, counters?.outbound.lastUse].filter((at) => at !== undefined);
  return times.length === 0 ? undefined : Math.max(...times);
}

function admitted(objection: string | { readonly redirect: string } | undefined): AskAnswers['authorise'] {
  if (objection === undefined) return { ok: true };
  if (typeof objection === 'object') return { ok: true, redirect: objection.redirect };
  const hint = 'The hook or list that decides who may come in says no; change it there.';
  return { ok: false, error: new AuthenticationFailure(`the peer is not let in: ${objection}`, { code: 'NOT_AUTHORISED', hint }) };
}

function then<T, R>(value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

function refusal(error: unknown): Answer<never> {
  if (error instanceof TunnelwrightError) return { ok: false, error };
  return { ok: false, error: defectOf('unexpected', error) };
}

/** What no code of ours was meant to throw. */
export function defectOf(what: string, error: unknown): InternalError {
  if (error instanceof InternalError) return error;
  return new InternalError(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/** Tries at once: a few milliseconds. */
const PUZZLE_PORTION = 2000;
const PUZZLE_WITHIN: Millis = 20_000;

/** Milliseconds; below the 30 s after which a first exchange is given up. */
const HOOK_WITHIN: Millis = 20_000;

import type { ChildPolicy, Connection, EndpointLimits } from '../core/ike/index.ts';
import { ScenarioFailure } from './failure.ts';
import { Internet } from './internet.ts';
import type { LinkConditions } from './link.ts';
import type { Nat, NatOptions } from './nat.ts';
import { Peer, type PeerOptions } from './peer.ts';
import { childPolicy, connectionPolicy, subnet } from './policies.ts';
import type { RandomScript, Script } from './seeded.ts';
import { KeyDirectory, type SimulatedIdentity } from './simulated-answers.ts';
import { simulatedKeyExchange } from './simulated-key-exchange.ts';
import { SimulatedPlane } from './simulated-plane.ts';
import { simulatedPrimitives } from './simulated-primitives.ts';
import { compare, parseArrow, renderChart, Transcript, type TranscriptMessage } from './transcript.ts';
import type { Settled } from './virtual-clock.ts';

/** The world of a scenario: real endpoints on a simulated internet. */
export class Net {
  readonly seed: number | string;
  readonly internet: Internet;
  readonly transcript = new Transcript();
  readonly peers: Peer[] = [];
  readonly #directory = new KeyDirectory();
  #read = 0;
  #lastActivity = 0;

  constructor(seed: number | string = 1) {
    this.seed = seed;
    this.internet = new Internet(seed);
  }

  get now(): number {
    return this.internet.clock.now;
  }

  /** Puts a machine on the internet, or behind a NAT. */
  peer(name: string, address: string | readonly string[], options: PeerOptions, nat?: Nat, link?: Partial<LinkConditions>): Peer {
    const addresses = typeof address === 'string' ? [address] : address;
    const host = this.internet.host(name, {
      addresses,
      network: nat?.inside ?? this.internet.core,
      ...(link === undefined ? {} : { link }),
    });
    const around = {
      clock: this.internet.clock,
      transcript: this.transcript,
      directory: this.#directory,
      seed: this.seed,
      touch: () => {
        this.#lastActivity = this.now;
      },
      nameOf: (ip: string) => this.#nameOf(ip),
    };
    const primitives = options.endpoint?.primitives;
    const peer = new Peer(
      name,
      host,
      options,
      around,
      (random, observe) => new SimulatedPlane(random, observe, () => this.now, primitives),
    );
    this.peers.push(peer);
    return peer;
  }

  /**
   * Lets time run until the next message is sent, and checks it against a line of a message chart:
   * `a → b  CREATE_CHILD_SA request { N(REKEY_SA), SA, Ni, ... }`. Retransmissions and fragments are one message.
   */
  exchange(line: string, options: { readonly order?: 'free' | 'exact'; readonly within?: number } = {}): TranscriptMessage {
    const arrow = parseArrow(line);
    const until = this.now + (options.within ?? 120_000);
    while (this.transcript.messages.length <= this.#read) {
      const next = this.internet.clock.next;
      if (next === undefined || next > until) throw this.failure(`nothing was sent; the chart says\n  ${line.trim()}`);
      this.#guard(() => this.internet.clock.step());
    }
    const message = this.transcript.messages[this.#read]!;
    const difference = compare(arrow, message, options.order);
    if (difference !== undefined) {
      throw this.failure(
        `the chart says\n  ${line.trim()}\nbut the next message is\n  ${message.from} → ${message.to}  ${message.summary}\n${difference}`,
      );
    }
    this.#read++;
    return message;
  }

  /** A whole chart, one line per message; empty lines and `#` comments are skipped. */
  chart(lines: string): void {
    for (const line of lines.split('\n')) if (line.trim() !== '' && !line.trim().startsWith('#')) this.exchange(line);
  }

  /** Messages so far count as read: the next `exchange` is about what comes from here on. */
  skip(): void {
    this.#read = this.transcript.messages.length;
  }

  /** Messages that no `exchange` has read yet. */
  get unread(): readonly TranscriptMessage[] {
    return this.transcript.messages.slice(this.#read);
  }

  /** Lets so many milliseconds pass. */
  run(milliseconds: number): void {
    this.#guard(() => this.internet.clock.run(this.now + milliseconds));
  }

  /**
   * Lets time run until nothing is due: no packet under way, no Ask open, no timer of an endpoint within the quiet time (longer than
   * the longest wait between retransmissions). Ends as failure when the world does not come to rest.
   */
  settle(options: { readonly quiet?: number; readonly within?: number } = {}): Settled {
    const { quiet = 25_000, within = 1_800_000 } = options;
    const { clock } = this.internet;
    const began = clock.now;
    let steps = 0;
    this.#lastActivity = clock.now;
    for (let next = clock.next; next !== undefined && next <= clock.now + quiet; next = clock.next) {
      if (next > began + within || ++steps > MOST_STEPS)
        throw this.failure(`the world does not come to rest (${steps} events, ${clock.now - began} ms)`);
      this.#guard(() => clock.step());
      // Timers that lead to nothing are not unrest.
      if (clock.now - this.#lastActivity > quiet) break;
    }
    return { settled: true, steps, took: clock.now - began };
  }

  /** Lets time run until the condition holds. */
  until(what: string, condition: () => boolean, within = 300_000): void {
    const end = this.now + within;
    while (!condition()) {
      const next = this.internet.clock.next;
      if (next === undefined || next > end) throw this.failure(`${what}: not within ${within} ms`);
      this.#guard(() => this.internet.clock.step());
    }
  }

  /** An error that shows the chart of what happened, and the seed. */
  failure(message: string, cause?: unknown): ScenarioFailure {
    return new ScenarioFailure(
      `${message}\n\nseed ${this.seed}, at ${(this.now / 1000).toFixed(3)} s, what happened:\n${this.describe()}`,
      cause,
    );
  }

  describe(): string {
    const states = this.peers.map((peer) => {
      const sas = peer.ikeSas.map((sa) => `${sa.state} [${sa.children.map((child) => `${child.name} ${child.state}`).join(', ')}]`);
      return `  ${peer.name}: ${sas.length === 0 ? 'no IKE SA' : sas.join('; ')}`;
    });
    return [renderChart(this.internet.capture, this.transcript, (ip) => this.#nameOf(ip)), ...states].join('\n');
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (cause) {
      if (cause instanceof ScenarioFailure) throw cause;
      throw this.failure(`an exception came out: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`, cause);
    }
  }

  #nameOf(ip: string): string {
    const owner = this.peers.find((peer) => peer.host.addresses.includes(ip));
    if (owner !== undefined) return owner.name;
    const behind = this.#nats.flatMap((nat) => nat.mappings).find((mapping) => mapping.outside.ip === ip)?.inside.ip;
    return behind === undefined ? ip : (this.peers.find((peer) => peer.host.addresses.includes(behind))?.name ?? ip);
  }

  nat(name: string, options: NatOptions): Nat {
    const nat = this.internet.nat(name, options);
    this.#nats.push(nat);
    return nat;
  }

  readonly #nats: Nat[] = [];
}

export interface SideOptions {
  readonly connection?: Partial<Connection>;
  readonly child?: Partial<ChildPolicy>;
  readonly limits?: Partial<EndpointLimits>;
  readonly identity?: Partial<SimulatedIdentity>;
  readonly pool?: readonly string[];
  readonly script?: RandomScript;
  readonly answerDelay?: number;
  readonly endpoint?: PeerOptions['endpoint'];
  readonly link?: Partial<LinkConditions>;
}

export interface PairOptions {
  readonly seed?: number | string;
  /** For both sides; `a` and `b` say what differs. */
  readonly connection?: Partial<Connection>;
  readonly child?: Partial<ChildPolicy>;
  readonly a?: SideOptions;
  readonly b?: SideOptions;
  /** Between the two, each way. */
  readonly link?: Partial<LinkConditions>;
  /** Puts `a` behind a NAT. */
  readonly nat?: Partial<NatOptions>;
  /** Puts `b` behind one; ports are then forwarded to it. */
  readonly ipv6?: boolean;
  /** Both ends compute with `simulatedPrimitives` and `simulatedKeyExchange`: for what is about order and loss, many times over. */
  readonly simulatedCrypto?: boolean;
  /** Scripted nonces, by side. */
  readonly nonces?: { readonly a?: Script<Uint8Array, [length: number]>; readonly b?: Script<Uint8Array, [length: number]> };
}

export interface Pair {
  readonly net: Net;
  readonly a: Peer;
  readonly b: Peer;
  /** The NAT in front of `a`, where there is one. */
  readonly nat: Nat | undefined;
}

/** Two endpoints that could talk, and have not yet: `a` knows how to reach `b`. */
export function pair(options: PairOptions = {}): Pair {
  const net = new Net(options.seed ?? 1);
  const nat = options.nat === undefined ? undefined : net.nat('nat', { outside: ['192.0.2.1'], ...options.nat });
  const [addressA, addressB] = options.ipv6
    ? ['2001:db8::1', '2001:db8::2']
    : [nat === undefined ? '192.0.2.1' : '10.0.0.5', '198.51.100.2'];
  const a = net.peer('a', addressA!, side(options, 'a', addressA!, addressB!), nat, { ...options.link, ...options.a?.link });
  const b = net.peer('b', addressB!, side(options, 'b', addressB!, '%any'), undefined, options.b?.link);
  return { net, a, b, nat };
}

/** Two endpoints with an IKE SA and a CHILD_SA between them, at rest; the chart begins behind that. */
export function establishedPair(options: PairOptions = {}): Pair {
  const made = pair(options);
  const { net, a, b } = made;
  a.initiate();
  net.until('establishment', () => a.plane.children.length > 0 && b.plane.children.length > 0 && a.openAsks + b.openAsks === 0);
  net.settle();
  net.skip();
  return made;
}

function side(options: PairOptions, which: 'a' | 'b', local: string, remote: string): PeerOptions {
  const own = options[which] ?? {};
  const [localTs, remoteTs] = which === 'a' ? ['10.1.0.0/24', '10.2.0.0/24'] : ['10.2.0.0/24', '10.1.0.0/24'];
  const child = childPolicy({ localTs: [subnet(localTs!)], remoteTs: [subnet(remoteTs!)], ...options.child, ...own.child });
  const connection = connectionPolicy({
    localAddresses: [local],
    remoteAddresses: [remote],
    children: [child],
    ...options.connection,
    ...own.connection,
  });
  const nonces = options.nonces?.[which];
  const { limits, identity, pool, answerDelay } = own;
  const endpoint = options.simulatedCrypto ? { ...SIMULATED_CRYPTO, ...own.endpoint } : own.endpoint;
  return {
    connections: [connection],
    ...(limits && { limits }),
    ...(identity && { identity }),
    ...(pool && { pool }),
    ...(answerDelay !== undefined && { answerDelay }),
    ...(endpoint && { endpoint }),
    script: { ...own.script, ...(nonces && { nonces }) },
  };
}

const SIMULATED_CRYPTO = { keyExchange: simulatedKeyExchange, primitives: simulatedPrimitives };
const MOST_STEPS = 200_000;

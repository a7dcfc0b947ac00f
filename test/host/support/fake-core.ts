import type {
  AskResult,
  ChildSaSpec,
  Command,
  Datagram,
  Effect,
  IkeSaInfo,
  Millis,
  Notice,
  Observation,
} from '../../../src/core/ike/effects.ts';
import type { EndpointLoad } from '../../../src/core/ike/load.ts';
import type { Connection } from '../../../src/core/ike/policy.ts';
import type { IkeCore } from '../../../src/host/engine/core.ts';
import { connectionPolicy, subnet } from '../../../src/testing/policies.ts';

/** Stands in the place of the core: remembers what it was told, wishes what the test puts in its mouth. */
export class FakeCore implements IkeCore {
  readonly received: Datagram[] = [];
  readonly commands: Command[] = [];
  readonly answers: { readonly ask: number; readonly result: AskResult }[] = [];
  readonly observed: Observation[] = [];
  readonly expiredAt: Millis[] = [];
  connections: readonly Connection[] = [];
  sas: IkeSaInfo[] = [];
  deadline: Millis | undefined;
  /** What a call causes; set by the test. */
  onReceive: (datagram: Datagram) => void = () => undefined;
  onCommand: (command: Command) => number | undefined = () => 1;
  onAnswer: (ask: number, result: AskResult) => void = () => undefined;
  onExpire: (now: Millis) => void = () => (this.deadline = undefined);
  restored: unknown;
  readonly #effects: Effect[] = [];
  #asks = 0;

  wish(...effects: Effect[]): void {
    this.#effects.push(...effects);
  }

  notice(notice: Notice): void {
    this.wish({ kind: 'notice', at: 0, notice });
  }

  ask(ask: Extract<Effect, { kind: 'ask' }>['ask'], ikeSa = 1): number {
    const id = ++this.#asks;
    this.wish({ kind: 'ask', id, ikeSa, rank: 'stranger', ask, deadline: 1e9 });
    return id;
  }

  receive(datagram: Datagram): void {
    this.received.push(datagram);
    this.onReceive(datagram);
  }

  command(command: Command): number | undefined {
    this.commands.push(command);
    return this.onCommand(command);
  }

  answer(ask: number, result: AskResult): void {
    this.answers.push({ ask, result });
    this.onAnswer(ask, result);
  }

  observe(observation: Observation): void {
    this.observed.push(observation);
  }

  expire(now: Millis): void {
    this.expiredAt.push(now);
    this.onExpire(now);
  }

  nextDeadline(): Millis | undefined {
    return this.deadline;
  }

  poll(): Effect | undefined {
    return this.#effects.shift();
  }

  info(): readonly IkeSaInfo[] {
    return this.sas;
  }

  infoOf(ikeSa: number): IkeSaInfo | undefined {
    return this.sas.find(({ id }) => id === ikeSa);
  }

  load(): EndpointLoad {
    const strangers = { cookies: 0, puzzles: 0, refusals: 0, silenced: 0, unknown: 0 };
    return { ikeSas: this.sas.length, halfOpen: 0, children: 0, timers: 0, asks: 0, requests: 0, jobs: 0, fragmentOctets: 0, strangers };
  }

  setConnections(connections: readonly Connection[]): void {
    this.connections = connections;
  }

  snapshot(): unknown {
    return { sas: this.sas };
  }

  restore(snapshot: unknown): void {
    this.restored = snapshot;
    this.sas = (snapshot as { sas: IkeSaInfo[] }).sas;
  }
}

/** To a peer on the road, which the fake neither negotiates with nor authenticates. */
export const connection = (name: string, more: Partial<Connection> = {}): Connection =>
  connectionPolicy({
    name,
    remoteAddresses: ['203.0.113.7'],
    proposals: [],
    local: [],
    remote: [],
    children: [],
    sendCertreq: true,
    natKeepalive: 20_000,
    ...more,
  });

export function ikeSa(id: number, more: Partial<IkeSaInfo> = {}): IkeSaInfo {
  return {
    id,
    connection: 'road',
    state: 'established',
    role: 'initiator',
    spiI: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, id),
    spiR: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, id),
    local: { ip: '198.51.100.2', port: 4500 },
    remote: { ip: '203.0.113.7', port: 4500 },
    localId: undefined,
    remoteId: { idType: 2, data: new TextEncoder().encode('peer.example') },
    localAuth: 'psk',
    remoteAuth: 'psk',
    natOurs: false,
    natTheirs: false,
    suite: '',
    fragmentation: true,
    crashTokens: { made: false, held: false },
    resumed: false,
    resumable: false,
    redirectable: false,
    redirectedFrom: undefined,
    establishedAt: 0,
    rekeyAt: undefined,
    lastInbound: undefined,
    assigned: [],
    assignedToUs: false,
    children: [],
    ...more,
  };
}

export function childSpec(id: number, more: Partial<ChildSaSpec> = {}): ChildSaSpec {
  const keys = (spi: number, fill: number): ChildSaSpec['inbound'] => ({
    spi,
    encryption: 20,
    keyLength: 128,
    encryptionKey: new Uint8Array(20).fill(fill),
    integrity: 0,
    integrityKey: new Uint8Array(0),
  });
  const any = subnet('0.0.0.0/0');
  return {
    id,
    ikeSa: 1,
    connection: 'road',
    name: 'net',
    protocol: 'ESP',
    mode: 'tunnel',
    inbound: keys(0x1000 + id, 1),
    outbound: keys(0x2000 + id, 2),
    esn: true,
    replayWindow: 64,
    localTs: [any],
    remoteTs: [any],
    local: { ip: '198.51.100.2', port: 4500 },
    remote: { ip: '203.0.113.7', port: 4500 },
    encap: true,
    outboundActive: true,
    replaces: undefined,
    limits: { softBytes: 0, hardBytes: 0, softPackets: 0, hardPackets: 0 },
    assigned: [],
    ...more,
  };
}

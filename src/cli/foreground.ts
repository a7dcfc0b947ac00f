import type { Notice } from '../core/ike/effects.ts';
import { isDynamic } from '../core/ike/traffic-selectors.ts';
import { formatSelector } from '../core/wire/text/selector.ts';
import { commandInside } from '../host/platform/linux/namespace-inside.ts';
import type { Way } from '../host/platform/way.ts';
import { type Client, createClient, Tunnel } from '../product/client/index.ts';
import { formatProposalWords, planeUse } from '../product/config/index.ts';
import { type EventLine, ikeSaDocument, isoClock, noticeLine, noWay } from '../product/control/index.ts';
import type { UdpPorts } from '../product/explain/wireshark-profile.ts';
import type { CliContext } from './context.ts';
import { openCredentials } from './credentials.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-codes.ts';
import { interruptible, onEnd } from './interrupt.ts';
import { KeyFolder } from './key-log.ts';
import type { Output } from './output.ts';
import { openReach, type Reach, type ReachFlags, wantsReach } from './reach.ts';
import { type FailureOptions, failureOf } from './render/errors.ts';
import { EventLog } from './render/log.ts';
import { Steps } from './render/steps.ts';
import { Session } from './session.ts';
import type { Wanted } from './settings.ts';

export interface ForegroundOptions {
  readonly wanted: Wanted;
  readonly context: CliContext;
  readonly out: Output;
  /** --control. */
  readonly control: string | undefined;
  /** Milliseconds for connecting. */
  readonly timeout: number | undefined;
  readonly keylog: string | undefined;
  /** What is opened on this machine besides. */
  readonly reach?: ReachFlags | undefined;
  /** --test-rekey; else the connection says. */
  readonly testRekey?: boolean | undefined;
}

/** One connection for as long as the command runs: it says how it comes up, and what becomes of it. */
export class Foreground {
  readonly #options: ForegroundOptions;
  readonly #client: Client;
  readonly #session: Session;
  readonly #keys: KeyFolder | undefined;
  readonly #reach: Reach;
  readonly #steps: Steps;
  readonly #log: EventLog;
  #phase: 'connecting' | 'up' | 'closing' = 'connecting';

  static async open(options: ForegroundOptions): Promise<Foreground> {
    const { wanted, context, out, control } = options;
    const { config, connection, name } = wanted;
    const keys = options.keylog === undefined ? undefined : await KeyFolder.open(options.keylog, context.cwd);
    await keys?.ports(...portsOf(wanted));
    const credentials = await openCredentials(config, context.now(), out);
    const verbose = { logKeys: keys !== undefined, logMessages: out.verbose > 1 };
    const use = wantsReach(options.reach ?? {}) ? 'own' : planeUse(config);
    const client = await createClient({ config, name, needed: [connection], credentials, use, ...verbose });
    let session: Session | undefined;
    try {
      session = await Session.open(client, { config, context, control });
      return new Foreground(options, client, session, keys, await openReach(() => wayOf(session!), options.reach ?? {}, context, out));
    } catch (error) {
      await (session ?? client).close(0);
      throw error;
    }
  }

  private constructor(options: ForegroundOptions, client: Client, session: Session, keys: KeyFolder | undefined, reach: Reach) {
    this.#options = options;
    this.#client = client;
    this.#session = session;
    this.#keys = keys;
    this.#reach = reach;
    this.#steps = new Steps(options.out.paint, options.out.columns);
    this.#log = new EventLog(options.out);
    for (const { message, hint } of client.warnings) options.out.warn(message, hint);
    client.onNotice(({ notice, at }) => this.#show(notice, at));
  }

  /** Connects, and stays until it is ended or the tunnel is lost. @returns the exit code */
  async run(): Promise<number> {
    const { wanted, context, out, timeout, testRekey } = this.#options;
    const { connection } = wanted;
    try {
      const { ikeSa, took } = await interruptible(context, timeout, (signal) => this.#client.up({ connection, testRekey }, signal));
      this.#phase = 'up';
      this.#told(ikeSa.id, took);
      const tunnel = new Tunnel(this.#client, connection);
      const end = await Promise.race([tunnel.closed, this.#session.takenDown, this.#asked()]);
      // An end that was asked for is no failure.
      if (end instanceof Error && !this.#session.goesDown) throw end;
      return EXIT.ok;
    } catch (error) {
      if (!(error instanceof CliError) || error.code !== 'INTERRUPTED') return out.fail(error, connection, factsOf(error, wanted));
      out.note('\n  disconnecting …');
      return EXIT.interrupted;
    } finally {
      this.#phase = 'closing';
      await this.#reach.close();
      await this.#session.close(GRACE);
      await this.#keys?.close(out);
    }
  }

  #show(notice: Notice, at: number): void {
    const { out } = this.#options;
    this.#keys?.note(notice);
    if (this.#phase === 'closing') return;
    const event = noticeLine(notice, at, isoClock(this.#client.now()), this.#dpdDelay(), out.verbose > 1);
    if (event === undefined) return;
    if (out.json) out.document({ schema: 1, ...event });
    else this.#line(event);
  }

  #line(event: EventLine): void {
    const { out } = this.#options;
    const text = this.#phase === 'up' ? this.#log.line(event) : this.#steps.take(event);
    if (text !== undefined) out.line(text);
  }

  #told(id: number, took: number): void {
    const { out } = this.#options;
    const now = this.#client.now();
    const standing = this.#client.ikeSas().find((sa) => sa.id === id);
    if (standing === undefined) return;
    const ikeSa = ikeSaDocument(standing, isoClock(now), this.#dpdDelay());
    const { plane, entry, decision } = this.#client.facts();
    const enter = entry && commandInside(entry, []);
    const at = new Date(now.wall).toISOString();
    const { lines: reach } = this.#reach;
    if (out.json) out.document({ event: 'up', at, ikeSa, tookMs: Math.round(took), control: this.#session.path, enter, reach });
    else {
      out.line(this.#steps.up(ikeSa, took, plane, decision?.better));
      if (enter !== undefined) out.line(`    a program in it: tunnelwright exec -- COMMAND`);
      for (const line of reach) out.line(`    ${line}`);
    }
    const { tellReady } = this.#options.context;
    out.note(tellReady ? `  to disconnect: tunnelwright down ${this.#client.name}` : '  Ctrl-C to disconnect');
    tellReady?.();
  }

  #dpdDelay(): number {
    return this.#client.connections().find(({ name }) => name === this.#options.wanted.connection)?.liveness.delay ?? 0;
  }

  /** Ctrl-C is the usual end, and still an interruption for a script; a wish to end from outside is obeyed as it is. */
  #asked(): Promise<Error | undefined> {
    const { context } = this.#options;
    return new Promise((resolve) => {
      onEnd(context, (signal) => resolve(signal === 'SIGINT' ? new CliError('interrupted', { code: 'INTERRUPTED' }) : undefined));
    });
  }
}

/** @throws ApiMisuse `NO_WAY` */
function wayOf({ way, instance }: Session): Way {
  if (way !== undefined) return way;
  throw noWay(instance.facts().plane);
}

/** Of the peer: ours change from time to time, and one end of a datagram is enough to know it by. */
const portsOf = ({ config, connection }: Wanted): UdpPorts[] =>
  config.connections
    .filter(({ name }) => name === connection)
    .map(({ remotePort, remoteNatPort }) => ({ ike: remotePort, nat: remoteNatPort }));

/** What we wanted, where the peer says that it wants something else. */
function factsOf(error: unknown, { config, connection }: Wanted): FailureOptions['facts'] {
  if (failureOf(error).exit !== EXIT.noCommonGround) return undefined;
  const policy = config.connections.find(({ name }) => name === connection);
  const child = policy?.children[0];
  const message = error instanceof Error ? error.message : '';
  if (policy === undefined) return undefined;
  if (child !== undefined && /TS_UNACCEPTABLE|selector/i.test(message)) {
    const shown = (selectors: typeof child.remoteTs) =>
      selectors.map((ts) => (isDynamic(ts) ? 'our address' : formatSelector(ts))).join(' ');
    return [['we asked for', `${shown(child.localTs)} ⇄ ${shown(child.remoteTs).replaceAll('our address', 'its address')}`]];
  }
  const proposals = /CHILD_SA/.test(message) && child !== undefined ? child.proposals : policy.proposals;
  return [['we offered', proposals.map((proposal, i) => `${i + 1} ${formatProposalWords(proposal)}`).join('   ')]];
}

/** Milliseconds that the peer is waited for when we say goodbye. */
export const GRACE = 3000;

import type { Notice } from '../core/ike/effects.ts';
import { formatIdentity } from '../core/pki/identity.ts';
import { type CompiledConfig, planeUse } from '../product/config/index.ts';
import { isoClock, noticeLine } from '../product/control/index.ts';
import { createGateway, type Gateway } from '../product/gateway/index.ts';
import type { SftpServerEvent } from '../product/sftp/index.ts';
import type { FileServerEvent } from '../product/transfer/index.ts';
import type { CliContext, EndSignal } from './context.ts';
import { openCredentials } from './credentials.ts';
import { EXIT } from './exit-codes.ts';
import { GRACE } from './foreground.ts';
import { onEnd } from './interrupt.ts';
import { KeyFolder } from './key-log.ts';
import type { Output } from './output.ts';
import { fileLine } from './render/files.ts';
import { EventLog } from './render/log.ts';
import { planeLine } from './render/steps.ts';
import { flow } from './render/text.ts';
import { Session } from './session.ts';
import { sftpLine } from './sftp/events.ts';

export interface ServiceOptions {
  readonly config: CompiledConfig;
  readonly context: CliContext;
  readonly out: Output;
  /** --control. */
  readonly control: string | undefined;
  readonly keylog: string | undefined;
}

/** A gateway for as long as the command runs. */
export class Service {
  readonly #options: ServiceOptions;
  readonly #gateway: Gateway;
  readonly #session: Session;
  readonly #keys: KeyFolder | undefined;

  static async open(options: ServiceOptions): Promise<Service> {
    const { config, context, out, control } = options;
    const keys = options.keylog === undefined ? undefined : await KeyFolder.open(options.keylog, context.cwd);
    const credentials = await openCredentials(config, context.now(), out);
    const gateway = await createGateway({
      config,
      credentials,
      use: planeUse(config),
      logKeys: keys !== undefined,
      logMessages: out.verbose > 1,
    });
    const log = new EventLog(out);
    gateway.onRefused = ({ id, to }) => showRefused(id === undefined ? 'somebody' : formatIdentity(id), to, context, out);
    gateway.onNotice(({ notice, at }) => show(notice, at, gateway, keys, out, log));
    try {
      await gateway.listen();
      await keys?.ports(...gateway.sockets.map(({ ike, nat }) => ({ ike: ike?.port, nat: nat.port })));
      const onFile = (event: FileServerEvent) => showFile(event, context, out);
      const onSftp = (event: SftpServerEvent) => showSftp(event, context, out);
      return new Service(options, gateway, await Session.open(gateway, { config, context, control, onFile, onSftp }), keys);
    } catch (error) {
      await gateway.close(0);
      throw error;
    }
  }

  private constructor(options: ServiceOptions, gateway: Gateway, session: Session, keys: KeyFolder | undefined) {
    this.#options = options;
    this.#gateway = gateway;
    this.#session = session;
    this.#keys = keys;
  }

  /** Serves until it is ended. @returns the exit code */
  async run(): Promise<number> {
    const { context, out } = this.#options;
    for (const { message, hint } of this.#gateway.warnings) out.warn(message, hint);
    if (this.#options.config.sftp !== undefined && this.#session.sftp === undefined)
      out.warn(
        `no SFTP: on the plane ${this.#gateway.facts().plane} the tunnel belongs to the machine`,
        'Use plane: netstack, or the sshd of the machine.',
      );
    this.#greet();
    out.note('  Ctrl-C to stop');
    const signal = await new Promise<EndSignal>((resolve) => onEnd(context, resolve));
    out.note('  saying goodbye …');
    await this.#session.close(GRACE);
    await this.#keys?.close(out);
    return signal === 'SIGINT' ? EXIT.interrupted : EXIT.ok;
  }

  #greet(): void {
    const { config, context, out } = this.#options;
    const { plane, decision, listen } = this.#gateway.facts();
    const { name } = this.#gateway;
    const { sftp } = this.#session;
    if (out.json) {
      out.document({
        event: 'listening',
        at: new Date(context.now()).toISOString(),
        name,
        listen,
        plane,
        control: this.#session.path,
        ...(sftp === undefined ? {} : { sftp: { folder: sftp.folder, port: sftp.port, hostKey: sftp.fingerprint } }),
      });
      return;
    }
    const { share, inbox } = config.transfer;
    const details = [
      config.pools.length === 0 ? '' : `clients get ${config.pools.flatMap(({ ranges }) => ranges).join(' ')}`,
      config.addresses.length === 0 ? '' : `we are ${config.addresses.map((address) => address.split('/')[0]).join(' ')}`,
      config.behind.length === 0 ? '' : `behind us: ${config.behind.map(({ name }) => name).join(', ')}`,
      share === undefined ? '' : `share ${share}`,
      inbox === undefined ? '' : `inbox ${inbox}`,
      sftp === undefined ? '' : `sftp ${sftp.folder}, host key ${sftp.fingerprint}`,
    ];
    out.line(flow([`  ${out.paint.green('✓')} ${name}`, `listening on ${listen.join(', ')}`], out.columns, '    '));
    if (details.some((detail) => detail !== ''))
      out.line(
        flow(
          ['', ...details].map((detail, i) => (i === 1 ? `    ${detail}` : detail)),
          out.columns,
          '    ',
        ),
      );
    out.line(flow([`    ${planeLine(plane, decision?.better)}`, `control ${this.#session.path}`], out.columns, '    '));
    if (!this.#gateway.sockets.some(({ ike }) => ike?.port === NATIVE_PORT)) out.note(OTHER_PORT);
  }
}

function show(notice: Notice, at: number, gateway: Gateway, keys: KeyFolder | undefined, out: Output, log: EventLog): void {
  keys?.note(notice);
  const event = noticeLine(notice, at, isoClock(gateway.now()), 0, out.verbose > 1);
  if (event === undefined) return;
  const text = out.json ? JSON.stringify({ schema: 1, ...event }) : log.line(event);
  if (text !== undefined) out.line(text);
}

function showRefused(peer: string, to: string, context: CliContext, out: Output): void {
  const at = new Date(context.now());
  if (out.json) out.document({ event: 'refused', at: at.toISOString(), peer, to });
  else out.line(`${out.paint.dim(at.toTimeString().slice(0, 8))}  not for ${peer}: ${to}`);
}

function showFile(event: FileServerEvent, context: CliContext, out: Output): void {
  const text = fileLine(event);
  if (text === undefined) return;
  const at = new Date(context.now());
  if (out.json) out.document({ event: 'file', at: at.toISOString(), kind: event.kind, peer: event.peer, text });
  else out.line(`${out.paint.dim(at.toTimeString().slice(0, 8))}  file  ${text}`);
}

function showSftp(event: SftpServerEvent, context: CliContext, out: Output): void {
  const at = new Date(context.now());
  if (out.json) out.document({ event: 'sftp', at: at.toISOString(), ...event });
  else out.line(`${out.paint.dim(at.toTimeString().slice(0, 8))}  sftp  ${sftpLine(event)}`);
}

/** Where clients of operating systems call: they can be told no other. */
const NATIVE_PORT = 500;
const OTHER_PORT = `    clients of Windows, Apple and Android call UDP ${NATIVE_PORT} alone: tunnelwright doctor says how to give it`;

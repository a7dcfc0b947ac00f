import { spawnSync } from 'node:child_process';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe } from 'vitest';
import { ControlClient } from '../../../src/product/control/index.ts';
import type { Host } from '../support/network.ts';
import { Daemon, eventually, type Finished, must, PATIENCE, run } from '../support/process.ts';
import { describeWith, type NATIVE_CALLS } from '../support/requirements.ts';
import type { Scope } from '../support/scope.ts';

/** An ordinary user at one end, with the command line and a namespace of theirs. */
export class User {
  readonly host: Host;
  readonly #folder: string;
  readonly #file: string;
  #daemon: Daemon | undefined;
  #enter: readonly string[] = [];

  constructor(host: Host, folder: string) {
    this.host = host;
    this.#folder = folder;
    this.#file = join(folder, 'tunnelwright.yaml');
  }

  /** `up net`, until it stands. */
  async up(scope: Scope, settings: object, plane = 'netns'): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await writeFile(this.#file, JSON.stringify({ ...settings, plane, control: { socket: this.#socket } }), { mode: 0o600 });
    for (const path of [this.#folder, this.#file]) await chown(path, NOBODY, NOBODY);
    this.#daemon = new Daemon(scope, 'tunnelwright', 'ip', this.#asUser(...TUNNELWRIGHT, 'up', 'net', '--config', this.#file), {
      env: this.#environment,
    });
    await eventually(
      'it is up',
      () => this.log().includes('Ctrl-C to disconnect') || !this.#daemon!.running,
      PATIENCE,
      () => this.log(),
    );
    this.#enter = ((await this.status()) as { enter: readonly string[] | null }).enter ?? [];
  }

  log(): string {
    return this.#daemon?.output ?? '';
  }

  async status(): Promise<unknown> {
    const said = await this.tell('status');
    return (JSON.parse(said) as { instances: readonly unknown[] }).instances[0];
  }

  tell(...words: readonly string[]): Promise<string> {
    return must('ip', this.#asUser(...TUNNELWRIGHT, ...words, '--control', this.#socket, '--json'), { env: this.#environment });
  }

  /** Runs a program behind the tunnel. */
  inside(...command: readonly string[]): Promise<Finished> {
    return run('ip', this.#asUser(...this.#enter, ...command));
  }

  /** A program that stays inside, whatever becomes of the tunnel, and is told what to run. */
  shell(scope: Scope): Shell {
    return new Shell(scope, this.#asUser(...this.#enter, 'sh'));
  }

  /** Runs a program of the machine's. */
  outside(...command: readonly string[]): Promise<Finished> {
    return run('ip', ['netns', 'exec', this.host.namespace, ...command]);
  }

  /** Packets that left by the device outside. */
  async sent(): Promise<number> {
    return Number((await this.outside('cat', `/sys/class/net/${this.host.device}/statistics/tx_packets`)).stdout);
  }

  async pings(to: string): Promise<void> {
    await eventually(
      `a program inside reaches ${to}`,
      async () => (await this.inside('ping', '-q', '-c', '1', '-W', '2', to)).status === 0,
      PATIENCE,
      () => this.log(),
    );
  }

  async end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    process.kill(this.#daemon!.pid, signal);
    await eventually(
      'it is gone',
      () => !this.#daemon!.running,
      PATIENCE,
      () => this.log(),
    );
  }

  get control(): ControlClient {
    return new ControlClient(this.#socket);
  }

  /** By which root comes into its network: `--net=…` of nsenter(1). */
  get network(): string {
    return this.#enter.find((word) => word.startsWith('--net='))!;
  }

  get #socket(): string {
    return join(this.#folder, 'control.sock');
  }

  get #environment(): Readonly<Record<string, string>> {
    return { HOME: this.#folder, NO_COLOR: '1' };
  }

  #asUser(...command: readonly string[]): readonly string[] {
    return ['netns', 'exec', this.host.namespace, ...AS_NOBODY, ...command];
  }
}

export class Shell {
  readonly #daemon: Daemon;
  #lines: string[] = [];
  #asked = 0;

  constructor(scope: Scope, command: readonly string[]) {
    this.#daemon = new Daemon(scope, 'a program inside', 'ip', command, { stdin: true });
    createInterface({ input: this.#daemon.child.stdout! }).on('line', (line) => this.#lines.push(line));
  }

  /** @returns what the command wrote to either stream, and its status */
  async runs(command: string): Promise<{ readonly output: string; readonly status: number }> {
    const end = `end-${this.#asked++}-`;
    this.#lines = [];
    this.#daemon.child.stdin!.write(`( ${command} ) 2>&1; echo "${end}$?"\n`);
    const last = await eventually(
      command,
      () => this.#lines.find((line) => line.startsWith(end)) ?? (this.#daemon.running ? undefined : `${end}-1`),
      PATIENCE,
      () => this.#lines.join('\n'),
    );
    return { output: this.#lines.filter((line) => line !== last).join('\n'), status: Number(last.slice(end.length)) };
  }
}

const NOBODY = 65_534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=-all'];
const TUNNELWRIGHT = [process.execPath, join(process.cwd(), 'dist', 'cli', 'main.js')];

/** A suite for an ordinary user; where this machine forbids it to one, it is skipped, and its name says why. */
export function describeForUser(requirement: typeof NATIVE_CALLS, name: string, body: () => void): void {
  const lack = requirement.missing() === undefined ? whyNot() : undefined;
  if (lack === undefined) describeWith(requirement, name, body);
  else describe.skip(`${name} (needs ${lack})`, body);
}

/** Why an ordinary user of this machine cannot do it. */
export function whyNot(): string | undefined {
  const asUser = (...command: readonly string[]): boolean =>
    spawnSync(AS_NOBODY[0]!, [...AS_NOBODY.slice(1), ...command], { stdio: 'ignore' }).status === 0;
  if (!asUser(...TUNNELWRIGHT, '--version')) return 'an ordinary user who may read this folder, and setpriv (package util-linux)';
  const made = asUser('unshare', '-Urnm', 'sh', '-c', 'mount -t tmpfs none /tmp && exec 3<>/dev/net/tun');
  return made ? undefined : 'user namespaces and /dev/net/tun for an ordinary user';
}

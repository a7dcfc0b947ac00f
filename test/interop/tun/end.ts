import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ControlClient } from '../../../src/product/control/index.ts';
import type { Host } from '../support/network.ts';
import { Daemon, eventually, must, PATIENCE, run } from '../support/process.ts';
import type { Scope } from '../support/scope.ts';

/** The command line as its user has it, in one of the namespaces. */
export class End {
  readonly host: Host;
  readonly folder: string;
  readonly #file: string;
  readonly #plane: string;
  #daemon: Daemon | undefined;

  constructor(host: Host, folder: string, plane = 'tun') {
    this.host = host;
    this.#plane = plane;
    this.folder = folder;
    this.#file = join(folder, 'tunnelwright.yaml');
  }

  async start(scope: Scope, words: readonly string[], settings: object): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    const whole = { ...settings, plane: this.#plane, control: { socket: this.#socket } };
    await writeFile(this.#file, JSON.stringify(whole, undefined, 2), { mode: 0o600 });
    this.#daemon = new Daemon(scope, 'tunnelwright', 'ip', [...this.#enter, ...TUNNELWRIGHT, ...words, '--config', this.#file], {
      env: { HOME: this.folder, NO_COLOR: '1' },
    });
    await eventually(
      'it is there',
      // a gateway says so once it listens
      async () => (words[0] === 'serve' ? this.log().includes('Ctrl-C to stop') : (await this.devices()).length > 0),
      PATIENCE,
      () => this.log(),
    );
  }

  log(): string {
    return this.#daemon?.output ?? '';
  }

  get pid(): number {
    return this.#daemon!.pid;
  }

  async end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    process.kill(this.pid, signal);
    await eventually(
      'it is gone',
      () => !this.#daemon!.running,
      PATIENCE,
      () => this.log(),
    );
  }

  async tell(...words: readonly string[]): Promise<unknown> {
    return JSON.parse(
      await must('ip', [...this.#enter, ...TUNNELWRIGHT, ...words, '--control', this.#socket, '--json'], { env: { HOME: this.folder } }),
    );
  }

  inside(...command: readonly string[]) {
    return run('ip', [...this.#enter, ...command]);
  }

  async devices(): Promise<readonly string[]> {
    const { stdout } = await this.inside('ip', '-o', 'link', 'show', 'type', 'tun');
    return stdout.split('\n').filter((line) => line !== '');
  }

  /** Packets that left by the device outside. */
  async sent(): Promise<number> {
    const { stdout } = await this.inside('cat', `/sys/class/net/${this.host.device}/statistics/tx_packets`);
    return Number(stdout);
  }

  /** What stands in the kernel that is ours. */
  async left(): Promise<string> {
    const rules = await this.inside('ip', 'rule', 'list');
    const routes = await this.inside('ip', 'route', 'list', 'table', 'all');
    const ours = (line: string): boolean => /^45\d\d:|table 45\d\d\d/.test(line);
    return [rules.stdout, routes.stdout]
      .flatMap((text) => text.split('\n'))
      .filter(ours)
      .join('\n');
  }

  async pings(to: string): Promise<void> {
    await eventually(
      `${this.host.inside} reaches ${to}`,
      async () => (await this.inside('ping', '-q', '-c', '1', '-W', '1', '-I', this.host.inside, to)).status === 0,
      PATIENCE,
      () => this.log(),
    );
  }

  /** Speaks to it without a command line of its own for each word. */
  get control(): ControlClient {
    return new ControlClient(this.#socket);
  }

  get #socket(): string {
    return join(this.folder, 'control.sock');
  }

  get #enter(): readonly string[] {
    return ['netns', 'exec', this.host.namespace];
  }
}

const TUNNELWRIGHT = [process.execPath, join('dist', 'cli', 'main.js')];

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { eventually, must, run } from '../../interop/support/process.ts';
import { type Settings, writeSettings } from '../../interop/support/settings.ts';

/** In the guest: strongSwan with the kernel's own IPsec, in a network namespace, for as long as the guest lives. */
export class Charon {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param namespace its name */
  static async start(namespace: string): Promise<Charon> {
    const made = new Charon(`/tmp/strongswan-${namespace}`);
    await made.#start(namespace);
    return made;
  }

  async #start(namespace: string): Promise<void> {
    const folder = this.#folder;
    mkdirSync(`${folder}/swanctl`, { recursive: true });
    const charon: Settings = {
      load: PLUGINS,
      install_routes: 'yes',
      retransmit_timeout: 8,
      retransmit_tries: 5,
      delete_rekeyed_delay: 1,
      plugins: { vici: { socket: this.#socket } },
      filelog: { log: { path: `${folder}/log`, time_format: '%T', default: 1, ike: 1, knl: 1, flush_line: 'yes' } },
    };
    writeFileSync(`${folder}/strongswan.conf`, writeSettings({ charon, 'charon-systemd': charon, swanctl: { load: 'random openssl' } }));
    const output = openSync(`${folder}/output`, 'w');
    const command = ['netns', 'exec', namespace, '/usr/sbin/charon-systemd'];
    spawn('ip', command, { env: { ...process.env, ...this.#environment }, stdio: ['ignore', output, output] }).unref();
    await eventually(
      'strongSwan answers',
      async () => (await this.#run(['--stats'])).status === 0,
      LONG,
      () => this.log(),
    );
  }

  /** Has this configuration and no SAs any more. */
  async configure(swanctl: Settings): Promise<void> {
    await this.#run(['--terminate', '--ike', 'net', '--force']);
    writeFileSync(`${this.#folder}/swanctl/swanctl.conf`, writeSettings(swanctl));
    await this.tell('--load-all', '--noprompt');
  }

  /** @returns what swanctl printed */
  async tell(...words: readonly string[]): Promise<string> {
    try {
      return await must('swanctl', [...words, '--uri', this.#socket], { env: this.#environment, timeout: LONG });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.log()}`);
    }
  }

  /** The last of what it logged. */
  log(): string {
    const text = ['log', 'output']
      .map((name) => `${this.#folder}/${name}`)
      .map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : ''))
      .join('\n');
    return `--- strongSwan\n${text.split('\n').slice(-60).join('\n')}`;
  }

  get #socket(): string {
    return `unix://${this.#folder}/vici`;
  }

  get #environment(): Record<string, string> {
    return { STRONGSWAN_CONF: `${this.#folder}/strongswan.conf`, SWANCTL_DIR: `${this.#folder}/swanctl` };
  }

  #run(words: readonly string[]): ReturnType<typeof run> {
    return run('swanctl', [...words, '--uri', this.#socket], { env: this.#environment, timeout: LONG });
  }
}

export const PLUGINS =
  'random nonce openssl aes sha1 sha2 hmac kdf curve25519 gcm gmp pem pkcs1 pubkey x509 kernel-netlink socket-default vici';
/** Milliseconds. */
const LONG = 300_000;

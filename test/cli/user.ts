import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cli, type CliOptions } from './harness.ts';

/** Somebody's folder, with a secret in it, and the command lines that run there. */
export class User {
  readonly folder = mkdtempSync(join(tmpdir(), 'tw-cli-'));
  readonly options: CliOptions = { cwd: this.folder, env: { XDG_RUNTIME_DIR: join(this.folder, 'run') }, columns: 200 };
  readonly #running: Cli[] = [];

  constructor() {
    mkdirSync(join(this.folder, 'run'), { mode: 0o700 });
    this.put('home.psk', 'a secret of more than sixteen octets\n');
  }

  put(name: string, content: string | Uint8Array): void {
    writeFileSync(join(this.folder, name), content, { mode: 0o600 });
  }

  start(...argv: readonly string[]): Cli {
    const one = new Cli(argv, this.options);
    this.#running.push(one);
    return one;
  }

  /** Ends what runs, what was started last first: what it stands on outlives it. */
  async end(): Promise<void> {
    for (const one of this.#running.splice(0).reverse()) {
      one.signal('SIGTERM');
      await one.done;
    }
  }

  async leave(): Promise<void> {
    await this.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface Ports {
  readonly ike: number;
  readonly nat: number;
}

/** The ports of a gateway that has just begun. */
export async function portsOf(gateway: Cli): Promise<Ports> {
  const [, ike, nat] = await gateway.says(/listening on 127\.0\.0\.1:(\d+), 127\.0\.0\.1:(\d+)/);
  return { ike: Number(ike), nat: Number(nat) };
}

export interface ClientSettings {
  readonly local?: string;
  readonly remote?: string;
  readonly lines?: string;
  readonly child?: string;
  readonly secret?: string;
  /** How long it asks a silent peer. */
  readonly patience?: string;
}

/** A client's configuration for a gateway at these ports. */
export function clientOf({ ike, nat }: Ports, settings: ClientSettings = {}): string {
  const {
    local = '{auth: psk, id: laptop@home.example.com}',
    remote = '{auth: psk, id: home.example.com}',
    lines = '',
    child = '{remote_ts: 0.0.0.0/0}',
    secret = 'home.psk',
    patience = '1m',
  } = settings;
  return `connections:
  home:
    remote_addrs: 127.0.0.1
    remote_port: ${ike}
    remote_nat_port: ${nat}
    vips: 0.0.0.0
    retransmission: {initial: 200ms, give_up: ${patience}}
    local: ${local}
    remote: ${remote}
    children: {net: ${child}}
    ${lines}
secrets: {home: {kind: psk, secret_file: ${secret}}}
listen: {port: 0, nat_port: 0}
`;
}

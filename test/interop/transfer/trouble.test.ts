import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { commandExists, Daemon, eventually, must, run } from '../support/process.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, EVERYTHING, NFTABLES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';
import { configuration } from '../support/tunnelwright.ts';
import { createInternet, forget, type Internet, MOBILE, move, translate, WAN, WIFI } from '../survival/session.ts';
import { CONTROL, type CommandLine, commandWithin, largestIn, RSYNC_PORT, startRsync, TUNNELWRIGHT, writeSettings } from './ends.ts';
import { Supervised } from './supervised.ts';

/** What is moved, on a link that makes it last for as long as the trouble does; lifetimes of the child and of the IKE SA. */
const SIZE = (EVERYTHING ? 1024 : 64) * 2 ** 20;
const RATE = EVERYTHING ? '60mbit' : '24mbit';
const [CHILD, IKE] = EVERYTHING ? ['10s', '60s'] : ['3s', '8s'];

/** Milliseconds. */
const LONGEST = 20 * 60_000;
/** On the gateway's machine, behind the gateway. */
const BEHIND = '10.2.0.5';
/** Both, and the gateway itself, which takes files. */
const INSIDE = '10.2.0.0/24, 10.66.0.0/24';
const RSYNC = { name: 'servers', missing: () => NFTABLES.missing() ?? (commandExists('rsync') ? undefined : 'rsync') };

describeWith(
  RSYNC,
  `${SIZE / 2 ** 20} MiB arrive whole: keys every ${CHILD} and ${IKE}, another address, a NAT that forgets, each end killed once`,
  () => {
    const inPlace = (act: (place: Place, scope: Scope) => Promise<void>) => async (): Promise<void> => {
      const scope = new Scope();
      try {
        await act(await Place.open(scope), scope);
      } finally {
        await scope.close();
      }
    };

    test(
      'by send, run again where the instance that it asks is killed',
      inPlace((place) => place.arrives('inbox', [...TUNNELWRIGHT, 'send', 'data.bin', 'net:', '--control', CONTROL])),
      LONGEST,
    );

    test(
      'by rsync --partial, run again for as long as it fails',
      inPlace(async (place, scope) => {
        await startRsync(scope, place.internet.gateway.namespace, join(place.folder, 'rsync'), BEHIND);
        const url = `rsync://127.0.0.1:${RSYNC_PORT}/inbox/`;
        await place.arrives(join('rsync', 'inbox'), ['rsync', '--partial', '--timeout=15', '--contimeout=15', 'data.bin', url]);
      }),
      LONGEST,
    );
  },
);

/** Our client and our gateway, both by the command line and both started again when they end, with a NAT and a slow link between. */
class Place {
  readonly internet: Internet;
  readonly folder: string;
  readonly #gateway: Supervised;
  readonly #client: Supervised;

  static async open(scope: Scope): Promise<Place> {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-trouble-'));
    scope.defer(folder, () => rm(folder, { recursive: true, force: true }));
    for (const name of ['client', 'gateway', 'inbox']) await mkdir(join(folder, name));
    const internet = await createInternet(scope);
    await translate(internet);
    const { router, gateway } = internet;
    const slow = ['root', 'tbf', 'rate', RATE, 'burst', '64kb', 'latency', '100ms'];
    await must('tc', ['-n', router.namespace, 'qdisc', 'add', 'dev', WAN, ...slow]);
    await must('ip', ['-n', gateway.namespace, 'link', 'set', 'lo', 'up']);
    await must('ip', ['-n', internet.client.namespace, 'link', 'set', 'lo', 'up']);
    await must('ip', ['-n', gateway.namespace, 'addr', 'add', `${BEHIND}/32`, 'dev', 'lo']);
    await must('dd', ['if=/dev/urandom', `of=${join(folder, 'client', 'data.bin')}`, 'bs=1M', `count=${SIZE / 2 ** 20}`, 'status=none']);
    await writeAllSettings(folder, internet);
    const place = new Place(scope, internet, folder);
    await place.#gateway.says('listening on');
    await place.#client.says('✓ up in');
    return place;
  }

  private constructor(scope: Scope, internet: Internet, folder: string) {
    this.internet = internet;
    this.folder = folder;
    const supervised = (role: Role, ...words: readonly string[]): Supervised =>
      new Supervised(scope, role, (life) => {
        const file = ['--config', 'tunnelwright.yaml'];
        return new Daemon(life, role, ...this.#within(role, [...TUNNELWRIGHT, ...words, ...file]));
      });
    this.#gateway = supervised('gateway', 'serve');
    this.#client = supervised('client', '-v', 'up', 'net', '-L', `${RSYNC_PORT}:${BEHIND}:${RSYNC_PORT}`);
  }

  /** Runs a command at the client until it succeeds, while there is trouble; then what is in `target` is what was sent. */
  async arrives(target: string, command: readonly string[]): Promise<void> {
    const folder = join(this.folder, target);
    let runs = 0;
    let ended = false;
    const told: string[] = [];
    const moving = (async () => {
      for (; runs < MOST_RUNS; ) {
        runs++;
        const [program, args, options] = this.#within('client', command);
        const { status, stdout, stderr } = await run(program, args, { ...options, timeout: LONGEST });
        told.push(`${status} ${stderr.trim().split('\n').at(-1) ?? ''} ${stdout.trim().split('\n').at(-1) ?? ''}`.trim());
        if (status === 0) break;
        await sleep(500);
      }
    })().finally(() => {
      ended = true;
    });
    const logs = (): string =>
      `${told.join('\n')}\n--- client\n${this.#client.output.slice(-8000)}\n--- gateway\n${this.#gateway.output.slice(-8000)}`;
    const troubles = this.#troubles();
    for (const [n, [what, make]] of troubles.entries()) {
      const wanted = ((n + 1) * SIZE) / (troubles.length + 1);
      await eventually(
        `${wanted} octets are there, before ${what}`,
        async () => ended || (await largestIn(folder)) >= wanted,
        LONGEST,
        logs,
      );
      // what is in the way of nothing any more would prove nothing
      if (ended) break;
      await make();
    }
    await eventually('it has ended', () => ended, LONGEST, logs);
    await moving;
    const rekeyed = (what: string): number => this.#client.output.split(new RegExp(`${what} #\\d+ rekeyed`)).length - 1;
    console.log(
      `${target}: ${runs} runs; child rekeyed ${rekeyed('child')} times, IKE SA ${rekeyed('IKE SA')} times; ` +
        `${this.#client.starts} lives of the client, ${this.#gateway.starts} of the gateway\n${told.join('\n')}`,
    );
    expect(told.at(-1), logs()).toMatch(/^0/);
    expect(Math.min(rekeyed('child'), rekeyed('IKE SA')), logs()).toBeGreaterThan(0);
    // more where one had to give up and was started again, too
    expect(Math.min(this.#client.starts, this.#gateway.starts), logs()).toBeGreaterThan(1);
    const digest = async (path: string): Promise<string> => (await must('sha256sum', [path])).split(' ')[0]!;
    expect(await digest(join(folder, 'data.bin'))).toBe(await digest(join(this.folder, 'client', 'data.bin')));
  }

  /** In this order, spread over the file. */
  #troubles(): readonly (readonly [string, () => Promise<void>])[] {
    const { internet } = this;
    const roam = ['another address', () => move(internet, WIFI, MOBILE)] as const;
    const back = ['the first address', () => move(internet, MOBILE, WIFI)] as const;
    const rebind = ['other ports', () => forget(internet)] as const;
    const kills = [
      ['the gateway is killed', () => this.#gateway.kill()],
      ['the client is killed', () => this.#client.kill()],
    ] as const;
    return [roam, rebind, kills[0], back, rebind, kills[1], roam, rebind, back];
  }

  #within(role: Role, command: readonly string[]): CommandLine {
    return commandWithin(this.internet[role].namespace, join(this.folder, role), command);
  }
}

type Role = 'client' | 'gateway';

async function writeAllSettings(folder: string, { client, gateway }: Internet): Promise<void> {
  const identities = await createIdentities(folder, 'psk');
  const common = { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16-x25519' };
  const made = {
    client: configuration({
      ...common,
      host: client,
      peer: gateway,
      identity: identities.left,
      connection: { local_addrs: '%any', vips: '0.0.0.0', dpd_delay: '1s', rekey_time: IKE },
      child: { local_ts: 'dynamic', remote_ts: INSIDE, dpd_action: 'restart', rekey_time: CHILD },
      sections: { addresses: [] },
    }),
    gateway: configuration({
      ...common,
      host: gateway,
      peer: client,
      identity: identities.right,
      connection: { remote_addrs: '%any', pools: ['clients'] },
      child: { local_ts: INSIDE, remote_ts: 'dynamic' },
      sections: {
        addresses: undefined,
        state: join(folder, 'gateway', 'state'),
        pools: { clients: { addrs: '10.66.0.0/24' } },
        behind: { lan: { networks: BEHIND } },
        transfer: { inbox: join(folder, 'inbox') },
      },
    }),
  };
  for (const [role, configured] of Object.entries(made)) await writeSettings(join(folder, role), configured);
}

const MOST_RUNS = 100;

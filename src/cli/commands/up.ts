import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePrivateFolder } from '../../host/platform/files.ts';
import type { ClientFlags } from '../../product/config/index.ts';
import type { EventLine } from '../../product/control/index.ts';
import { socketFolder } from '../../product/control/socket-path.ts';
import { addCommand, type Invocation, rare, repeated, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { type Running, runningInstances } from '../instances.ts';
import { interruptible } from '../interrupt.ts';
import type { ReachFlags } from '../reach.ts';
import { Steps } from '../render/steps.ts';

export interface UpFlags extends ClientFlags, ReachFlags {
  readonly keylog?: string;
  readonly detach?: true;
  readonly testRekey?: true;
}

const DESCRIPTION = 'TARGET is a connection of the configuration, a file, a host, or ike://USER@HOST.';

export function registerUp(shell: Shell): void {
  addCommand<UpFlags>(
    shell,
    { usage: 'up <target>', group: 'Client', summary: 'connect, and stay until Ctrl-C', description: DESCRIPTION },
    (command) =>
      command
        .option('--psk-file <file>', 'pre-shared key')
        .option('--cert <file>', 'our certificate, PEM or DER')
        .option('--key <file>', 'its private key')
        .option('--ca <file>', 'trust certificates of this authority', repeated)
        .option('--id <id>', 'who we say we are')
        .option('--remote-id <id>', 'who the other end must be')
        .option('--ike <proposals>', 'for instance aes256gcm16-prfsha384-x25519')
        .option('--esp <proposals>', 'for instance aes256gcm16-x25519')
        .option('--only <networks>', 'through the tunnel only 10.0.0.0/8,…')
        .addOption(rare('--legacy', 'permit algorithms that can be broken'))
        .addOption(rare('--tcp', 'over TCP at once, where it is known that UDP is blocked'))
        .option('--plane <plane>', 'auto, tun, netns, xfrm or netstack')
        .addOption(rare('--mtu <octets>', 'largest packet inside the tunnel'))
        .addOption(rare('--share <folder>', 'let the other end get files from here'))
        .addOption(rare('--inbox <folder>', 'let the other end send files into it'))
        .addOption(rare('--limit <rate>', 'octets a second of its transfers: 800K, 5M, 1.5G'))
        .addOption(rare('--largest <size>', 'no larger file is taken into the inbox; any'))
        .addOption(rare('--keep-free <size>', 'leave so much of the disk; 64MiB'))
        .option('--socks <address>', 'SOCKS5 and HTTP proxy on [ADDRESS:]PORT')
        .addOption(rare('--proxy-auth <file>', 'USER:PASSWORD that the proxy asks for'))
        .option('-L, --local <forward>', 'a port here, [ADDRESS:]PORT:HOST:PORT', repeated)
        .option('-R, --remote <forward>', 'a port of ours in the tunnel, PORT:HOST:PORT', repeated)
        .addOption(rare('--name <name>', 'of this instance, for status and down'))
        .addOption(rare('--test-rekey', 'rekey at once: what would fail in an hour fails now'))
        .option('--detach', 'go into the background once it stands')
        .addOption(rare('--keylog <folder>', 'write every key for Wireshark: it reads all then')),
    up,
  );
}

async function up(invocation: Invocation<UpFlags>, target?: string): Promise<number> {
  const { context, out, flags } = invocation;
  const holder = hasOwnSettings(flags) ? undefined : await holderOf(invocation, target!);
  if (holder !== undefined) return upThere(invocation, holder, target!);
  const [{ settingsForUp }, { Foreground }] = await Promise.all([import('../settings.ts'), import('../foreground.ts')]);
  const wanted = settingsForUp(target!, flags, flags.config, context);
  if (flags.detach === true) return upDetached(invocation, wanted.name);
  const { control, timeout, keylog } = flags;
  const foreground = await Foreground.open({ wanted, context, out, control, timeout, keylog, testRekey: flags.testRekey, reach: flags });
  return foreground.run();
}

/** The same command without --detach in a process of its own; we stay until it stands, and tell what it told. */
async function upDetached({ context, out, flags }: Invocation<UpFlags>, name: string): Promise<number> {
  const folder = socketFolder(context);
  await ensurePrivateFolder(folder);
  const log = join(folder, `${name}.log`);
  const args = context.args.filter((arg) => arg !== '--detach');
  const start = await interruptible(context, flags.timeout, (signal) => context.detach(args, log, signal));
  const told = await readFile(log, 'utf8');
  if (start.kind === 'ended') {
    context.err.write(told);
    return start.code;
  }
  out.print(told);
  out.note(`  in the background, process ${start.pid}; what it says goes to ${log}`);
  return EXIT.ok;
}

/** A connection that another instance holds is brought up there, and stays when this command ends. */
async function upThere({ context, out, flags }: Invocation<UpFlags>, { client, status }: Running, connection: string): Promise<number> {
  const steps = new Steps(out.paint, out.columns);
  try {
    await interruptible(context, flags.timeout, async (signal) => {
      for await (const line of client.up({ connection, ...(flags.testRekey === true ? { testRekey: true } : {}) }, signal)) {
        if (out.json) out.document({ schema: 1, ...line });
        else if (line.event === 'up' && 'ikeSa' in line && typeof line.tookMs === 'number')
          out.line(steps.up(line.ikeSa as Parameters<Steps['up']>[0], line.tookMs, status.plane, status.planeChoice?.better));
        else {
          const text = steps.take(line as EventLine);
          if (text !== undefined) out.line(text);
        }
      }
    });
  } catch (error) {
    return out.fail(error, connection);
  }
  out.note(`  in ${status.name}; to disconnect: tunnelwright down ${connection}`);
  return EXIT.ok;
}

async function holderOf({ context, flags }: Invocation<UpFlags>, target: string): Promise<Running | undefined> {
  const instances = await runningInstances(context, flags.control).catch(() => []);
  return instances.find(({ status }) => status.peers.some(({ connection }) => connection === target));
}

/** With settings of its own, `up` is about a connection that no other instance knows. */
const hasOwnSettings = (flags: UpFlags & { readonly config?: string }): boolean =>
  [
    flags.config,
    flags.pskFile,
    flags.cert,
    flags.ca,
    flags.ike,
    flags.esp,
    flags.only,
    flags.id,
    flags.remoteId,
    flags.tcp,
    flags.name,
    flags.socks,
    flags.local,
    flags.remote,
  ].some((flag) => flag !== undefined);

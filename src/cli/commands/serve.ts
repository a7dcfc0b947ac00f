import type { ServeFlags as GatewayFlags } from '../../product/config/index.ts';
import { addCommand, type Invocation, rare, repeated, type Shell } from '../command.ts';

interface ServeFlags extends GatewayFlags {
  readonly keylog?: string;
}

const DESCRIPTION = 'Lets clients in until Ctrl-C: as tunnelwright.yaml says, or as flags say.';

export function registerServe(shell: Shell): void {
  addCommand<ServeFlags>(
    shell,
    { usage: 'serve', group: 'Gateway', summary: 'let clients in, and stay until Ctrl-C', description: DESCRIPTION },
    (command) =>
      command
        .option('--psk-file <file>', 'whoever knows this pre-shared key may come in')
        .option('--cert <file>', 'our certificate, PEM or DER')
        .option('--key <file>', 'its private key')
        .option('--ca <file>', 'whoever has a certificate of this authority may come in', repeated)
        .option('--id <id>', 'who we say we are; the name of the machine')
        .option('--ike <proposals>', 'for instance aes256gcm16-prfsha384-x25519')
        .option('--esp <proposals>', 'for instance aes256gcm16-x25519')
        .addOption(rare('--legacy', 'permit algorithms that can be broken'))
        .option('--pool <addresses>', 'give clients addresses of these; 10.66.0.0/24', repeated)
        .option('--net <networks>', 'networks behind us that clients reach; none')
        .option('--share <folder>', 'let clients get files from here')
        .option('--inbox <folder>', 'let clients send files into it')
        .addOption(rare('--limit <rate>', 'octets a second of all their transfers: 800K, 5M, 1.5G'))
        .addOption(rare('--largest <size>', 'no larger file is taken, into the inbox or by SFTP; any'))
        .addOption(rare('--keep-free <size>', 'leave so much of the disk; 64MiB'))
        .option('--sftp <folder>', 'let clients into it by SFTP')
        .option('--address <ip>', 'listen here alone', repeated)
        .option('--port <port>', 'UDP port of IKE; 500')
        .addOption(rare('--nat-port <port>', 'UDP port behind NATs; 4500'))
        .addOption(rare('--tcp-port <port>', 'TCP port for clients without UDP; that of --nat-port'))
        .option('--plane <plane>', 'auto, tun, netns, xfrm or netstack')
        .option('--name <name>', 'of this instance; gateway')
        .option('--keylog <folder>', 'write every key for Wireshark: it reads all then'),
    serve,
  );
}

async function serve({ context, out, flags }: Invocation<ServeFlags>): Promise<number> {
  await context.takeObjectRoom();
  const [{ settingsForServe }, { Service }] = await Promise.all([import('../settings.ts'), import('../service.ts')]);
  const config = settingsForServe(flags, flags.config, context);
  const service = await Service.open({ config, context, out, control: flags.control, keylog: flags.keylog });
  return service.run();
}

import { resolve } from 'node:path';
import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { interruptible } from '../interrupt.ts';
import { DemoView } from '../render/demo.ts';
import { wiresharkHint } from '../render/wireshark.ts';

interface DemoFlags {
  readonly file?: string;
  readonly keylog?: string;
}

export function registerDemo(shell: Shell): void {
  addCommand<DemoFlags>(
    shell,
    {
      usage: 'demo',
      group: 'Misc',
      summary: 'a gateway, a client and a file, here and now',
      description:
        'Runs a gateway and a client in two processes, real UDP on loopback through a NAT: IKEv2 with certificates, a file through ESP, both kinds of rekeying on the way. Ends with 0 only if everything held.',
    },
    (command) =>
      command
        .option('--file <path>', 'send this file instead of 64 MiB of noise')
        .option('--keylog <dir>', 'leave a capture and the key tables with which Wireshark decrypts it'),
    async ({ context, out, flags }) => {
      const { CAPTURE, runDemo } = await import('../demo/demo.ts');
      const view = out.json || out.quiet ? undefined : new DemoView(context.out, out.paint);
      const keylog = flags.keylog === undefined ? undefined : resolve(context.cwd, flags.keylog);
      view?.begin();
      try {
        const result = await interruptible(context, flags.timeout, (signal) =>
          runDemo({
            file: flags.file === undefined ? undefined : resolve(context.cwd, flags.file),
            keylog,
            signal,
            onEvent: (event) => view?.take(event),
          }),
        );
        if (out.json) out.document(result);
        view?.result(result);
        if (keylog !== undefined) out.note(`\n${wiresharkHint(keylog, CAPTURE)}`);
        return result.checks.every(({ held }) => held) ? EXIT.ok : EXIT.failed;
      } catch (error) {
        view?.leave();
        throw error;
      }
    },
  );
}

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { DecodedCapture } from '../../product/explain/decode.ts';
import type { DecodeOptions } from '../../product/explain/index.ts';
import { addCommand, repeated, type Shell } from '../command.ts';
import type { CliContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';

interface DecodeFlags {
  readonly keys?: string;
  readonly ikePort?: readonly string[];
  readonly natPort?: readonly string[];
  readonly brief?: true;
}

export function registerDecode(shell: Shell): void {
  addCommand<DecodeFlags>(
    shell,
    {
      usage: 'decode <file>',
      group: 'Diagnose',
      summary: 'say what a capture holds (pcap, pcapng)',
      description: 'Says what a capture holds of IKE and IPsec: pcap or pcapng, - for the input.',
    },
    (command) =>
      command
        .option('--keys <folder>', "Wireshark's ikev2_decryption_table and esp_sa, to look inside")
        .option('--ike-port <port>', 'a port besides 500 that carries IKE', repeated)
        .option('--nat-port <port>', 'a port besides 4500 that carries ESP in UDP', repeated)
        .option('--brief', 'one line for each packet'),
    async ({ context, out, flags }, file) => {
      const { decodeCapture, renderDecoded } = await import('../../product/explain/index.ts');
      const data = file === '-' ? await context.readStdin() : readFile(resolve(context.cwd, file!), file!);
      const options = await optionsOf(flags, context);
      let decoded: DecodedCapture;
      try {
        decoded = decodeCapture(data, options);
      } catch (error) {
        return out.fail(error, file === '-' ? 'the input' : file);
      }
      if (out.json) out.document(decoded);
      else out.print(renderDecoded(decoded, { details: flags.brief !== true }));
      return decoded.damage === undefined ? EXIT.ok : EXIT.failed;
    },
  );
}

async function optionsOf({ keys, ikePort = [], natPort = [] }: DecodeFlags, { cwd }: CliContext): Promise<DecodeOptions> {
  const ports = {
    ikePorts: ikePort.map((text) => portOf('--ike-port', text)),
    natPorts: natPort.map((text) => portOf('--nat-port', text)),
  };
  if (keys === undefined) return ports;
  const { parseDecodeAs, parseEspTable, parseIkeTable } = await import('../../product/explain/index.ts');
  const folder = resolve(cwd, keys);
  const tables = [join(folder, 'ikev2_decryption_table'), join(folder, 'esp_sa')] as const;
  if (!tables.some((table) => existsSync(table))) {
    throw new CliError(`${keys} holds neither ikev2_decryption_table nor esp_sa`, {
      code: 'FILE_NOT_FOUND',
      hint: 'Name the folder that `--keylog` of up, serve or demo wrote, or the configuration folder of Wireshark.',
    });
  }
  const text = (table: string) => (existsSync(table) ? readFileSync(table, 'utf8') : '');
  // what the folder says of ports holds as well
  const known = parseDecodeAs(text(join(folder, 'decode_as_entries')));
  return {
    ikeKeys: parseIkeTable(text(tables[0]), tables[0]),
    espKeys: parseEspTable(text(tables[1]), tables[1]),
    ikePorts: [...ports.ikePorts, ...known.ikePorts],
    natPorts: [...ports.natPorts, ...known.natPorts],
  };
}

function portOf(flag: string, text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65535) return port;
  throw new CliError(`${flag}: ${text} is not a port`, { code: 'USAGE' });
}

function readFile(path: string, shown: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? 'there is no such file' : (cause as Error).message;
    throw new CliError(`${shown}: ${what}`, { code: 'FILE_NOT_FOUND', hint: `It was looked for at ${path}`, cause });
  }
}

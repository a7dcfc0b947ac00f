import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unwritable } from './unwritable.ts';

/** UDP ports of one end. */
export interface UdpPorts {
  /** IKE alone; undefined where everything goes through the other one. */
  readonly ike: number | undefined;
  /** ESP, and IKE behind a non-ESP marker. */
  readonly nat: number;
}

/**
 * Makes `folder` one that Wireshark can be started with (WIRESHARK_CONFIG_DIR): beside the key tables it says which UDP ports carry IKE and
 * ESP, for Wireshark knows 500 and 4500 alone. What somebody else wrote there stays.
 * @throws DataPlaneError `FILE_UNWRITABLE`
 */
export async function writeWiresharkProfile(folder: string, ...ends: readonly UdpPorts[]): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, 'decode_as_entries');
    const before = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw cause;
      return '';
    });
    const known = new Set(before.split('\n').filter((line) => line !== ''));
    for (const { ike, nat } of ends) {
      if (ike !== undefined && ike !== nat) known.add(decodeAs(ike, 'ISAKMP'));
      known.add(decodeAs(nat, 'UDPENCAP'));
    }
    await writeFile(path, [...known, ''].join('\n'), { mode: 0o600 });
    await writeFile(join(folder, 'preferences'), PREFERENCES, { flag: 'wx', mode: 0o600 }).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
    });
  } catch (cause) {
    throw unwritable(folder, cause as NodeJS.ErrnoException);
  }
}

const decodeAs = (port: number, protocol: string): string => `decode_as_entry: udp.port,${port},(none),${protocol}`;

/** Without it Wireshark leaves ESP closed, whatever keys it has. */
const PREFERENCES = 'esp.enable_encryption_decode: TRUE\n';

/** Which UDP ports a `decode_as_entries` of Wireshark names for IKE and for ESP in UDP; lines about anything else are passed over. */
export function parseDecodeAs(text: string): { readonly ikePorts: readonly number[]; readonly natPorts: readonly number[] } {
  const entries = [...text.matchAll(/^decode_as_entry: udp\.port,(\d{1,5}),[^,\n]*,(ISAKMP|UDPENCAP)$/gm)];
  const ports = (protocol: string) => entries.filter((entry) => entry[2] === protocol).map((entry) => Number(entry[1]));
  return { ikePorts: ports('ISAKMP'), natPorts: ports('UDPENCAP') };
}

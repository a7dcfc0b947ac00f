import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unwritable } from './unwritable.ts';

/**
 * Makes `folder` one that Wireshark can be started with (WIRESHARK_CONFIG_DIR): beside the key tables it says which UDP ports carry IKE and
 * ESP, for Wireshark knows 500 and 4500 alone. What somebody else wrote there stays.
 * @throws DataPlaneError `FILE_UNWRITABLE`
 */
export async function writeWiresharkProfile(folder: string, ports: { readonly ike: number; readonly nat: number }): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const entries = [decodeAs(ports.ike, 'ISAKMP'), decodeAs(ports.nat, 'UDPENCAP')];
    await appendFile(join(folder, 'decode_as_entries'), entries.join(''));
    await writeFile(join(folder, 'preferences'), PREFERENCES, { flag: 'wx' }).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
    });
  } catch (cause) {
    throw unwritable(folder, cause as NodeJS.ErrnoException);
  }
}

const decodeAs = (port: number, protocol: string): string => `decode_as_entry: udp.port,${port},(none),${protocol}\n`;

/** Without it Wireshark leaves ESP closed, whatever keys it has. */
const PREFERENCES = 'esp.enable_encryption_decode: TRUE\n';

/** Which UDP ports a `decode_as_entries` of Wireshark names for IKE and for ESP in UDP; lines about anything else are passed over. */
export function parseDecodeAs(text: string): { readonly ikePorts: readonly number[]; readonly natPorts: readonly number[] } {
  const entries = [...text.matchAll(/^decode_as_entry: udp\.port,(\d{1,5}),[^,\n]*,(ISAKMP|UDPENCAP)$/gm)];
  const ports = (protocol: string) => entries.filter((entry) => entry[2] === protocol).map((entry) => Number(entry[1]));
  return { ikePorts: ports('ISAKMP'), natPorts: ports('UDPENCAP') };
}

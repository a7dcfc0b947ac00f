import type { Notice } from '../core/ike/effects.ts';
import { absolutePath } from '../product/config/index.ts';
import { KeyLog } from '../product/explain/key-log.ts';
import { type UdpPorts, writeWiresharkProfile } from '../product/explain/wireshark-profile.ts';
import { makeFolder } from './make-folder.ts';
import type { Output } from './output.ts';
import { wiresharkHint } from './render/wireshark.ts';

/** The folder of `--keylog`: every key, and what Wireshark has to know besides to read a capture with them. */
export class KeyFolder {
  readonly #path: string;
  readonly #keys: KeyLog;

  /** @param folder as it was given @throws ConfigError `FOLDER_UNWRITABLE` */
  static async open(folder: string, cwd: string): Promise<KeyFolder> {
    const path = absolutePath(folder, cwd);
    await makeFolder(path);
    return new KeyFolder(path);
  }

  private constructor(path: string) {
    this.#path = path;
    this.#keys = new KeyLog(path);
  }

  note(notice: Notice): void {
    this.#keys.note(notice);
  }

  /** Told once ports are known. @throws DataPlaneError `FILE_UNWRITABLE` */
  async ports(...ends: readonly UdpPorts[]): Promise<void> {
    await writeWiresharkProfile(this.#path, ...ends);
  }

  /** Says what the folder is good for, or that it is not whole. */
  async close(out: Output): Promise<void> {
    try {
      await this.#keys.flush();
      out.note(`\n${wiresharkHint(this.#path)}`);
    } catch (error) {
      out.warn(`the keys were not all written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Notice } from '../../core/ike/effects.ts';
import { unwritable } from './unwritable.ts';
import { formatEspRow, formatIkeRow, type WiresharkRow } from './wireshark.ts';

/**
 * Writes every key of an instance that was started with `logKeys` into Wireshark's two tables. Whoever has them reads the traffic: they are
 * written only where the operator asked for it, with mode 0600.
 */
export class KeyLog {
  readonly #folder: string;
  readonly #seen = new Set<string>();
  #written: Promise<void>;

  constructor(folder: string) {
    this.#folder = folder;
    this.#written = mkdir(folder, { recursive: true, mode: 0o700 }).then(
      () => undefined,
      (cause) => fail(folder, cause),
    );
    // whoever calls `flush` hears of it; nobody else can do anything about it
    this.#written.catch(() => undefined);
  }

  note(notice: Notice): void {
    if (notice.kind === 'ike-keys') this.#append(IKE_TABLE, formatIkeRow(notice.keys));
    if (notice.kind !== 'child-keys') return;
    // a NAT in the path shows other addresses on its other side, so the SPI alone says which SA it is
    for (const half of [notice.inbound, notice.outbound]) this.#append(ESP_TABLE, formatEspRow({ source: '*', destination: '*', ...half }));
  }

  /** Resolves when everything noted so far is in the files. @throws DataPlaneError `FILE_UNWRITABLE`: the first that could not be written */
  flush(): Promise<void> {
    return this.#written;
  }

  #append(table: string, { row }: WiresharkRow): void {
    if (this.#seen.has(row)) return;
    this.#seen.add(row);
    const path = join(this.#folder, table);
    this.#written = this.#written.then(() => appendFile(path, `${row}\n`, { mode: 0o600 }).catch((cause) => fail(path, cause)));
    this.#written.catch(() => undefined);
  }
}

function fail(path: string, cause: NodeJS.ErrnoException): never {
  throw unwritable(path, cause);
}

/** The names that Wireshark itself uses in its configuration folder. */
export const IKE_TABLE = 'ikev2_decryption_table';
export const ESP_TABLE = 'esp_sa';

import { statfsSync } from 'node:fs';
import { TransferError } from './errors.ts';
import { formatBytes } from './progress.ts';

/**
 * How far peers may fill a disk: so much of it stays free, whatever they announced and however many they are. It is asked before anything is
 * written, and looks at the disk again when what was free then may be used up.
 */
export class Room {
  readonly #folder: string;
  readonly #keepFree: number;
  readonly #freeOf: (folder: string) => number | undefined;
  /** Octets that may be written before the disk is looked at again. */
  #credit = 0;
  /** Octets that were taken, and that the disk may not have yet. */
  #underWay = 0;

  /** @param keepFree octets @param freeOf octets that are free where a folder is; undefined where nobody can tell */
  constructor(folder: string, keepFree: number, freeOf = freeOctets) {
    this.#folder = folder;
    this.#keepFree = keepFree;
    this.#freeOf = freeOf;
  }

  /** A file of this length is announced; nothing is set aside for it. @param folder where the disk is looked at @throws TransferError */
  check(length: number, folder = this.#folder): void {
    const free = this.#free(folder);
    if (free !== undefined && free < length + this.#keepFree) throw this.#full(free, length);
  }

  /** So many octets are about to be written. @param folder where the disk is looked at @throws TransferError */
  take(octets: number, folder = this.#folder): void {
    this.#credit -= octets;
    if (this.#credit >= 0) return;
    const free = this.#free(folder);
    if (free !== undefined && free < octets + this.#keepFree) {
      this.#credit = 0;
      throw this.#full(free, octets);
    }
    this.#credit = Math.min(LOOK_AGAIN, (free ?? Number.POSITIVE_INFINITY) - this.#keepFree - octets);
  }

  /** Takes what `write` is about to write, and counts it for as long as that lasts: others may write meanwhile. @throws TransferError */
  async taking(octets: number, folder: string, write: () => Promise<void>): Promise<void> {
    this.take(octets, folder);
    this.#underWay += octets;
    try {
      await write();
    } finally {
      this.#underWay -= octets;
    }
  }

  #free(folder: string): number | undefined {
    const free = this.#freeOf(folder);
    return free === undefined ? undefined : Math.max(0, free - this.#underWay);
  }

  #full(free: number, octets: number): TransferError {
    const kept = this.#keepFree === 0 ? '' : `, ${formatBytes(this.#keepFree)} of it kept free`;
    return new TransferError(`the disk has ${formatBytes(free)} left${kept}, and ${formatBytes(octets)} more are to come`, {
      code: 'TRANSFER_DISK_FULL',
      hint: 'Make room on the receiving machine and run the same command: it goes on where it stopped.',
      resumable: true,
    });
  }
}

function freeOctets(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** Octets. */
const LOOK_AGAIN = 16 * 1024 * 1024;

import { readFile } from 'node:fs/promises';
import type { Notice } from '../../core/ike/effects.ts';
import { speakWithParent } from '../../host/platform/worker-process.ts';
import { type Client, createClient } from '../../product/client/index.ts';
import { compile, loadConfig } from '../../product/config/index.ts';
import { type EventLine, ikeSaDocument, isoClock, noticeLine, progressToLine, type SasDocument } from '../../product/control/index.ts';
import { KeyLog } from '../../product/explain/key-log.ts';
import { send } from '../../product/transfer/index.ts';
import { SpiLedger } from '../spi-ledger.ts';
import { aborted } from './aborted.ts';
import { failureOf } from './failure.ts';
import { HeldStream } from './held-stream.ts';
import type { ClientMessage, ClientSetup, Order } from './messages.ts';
import { CONNECTION, GATEWAY_INNER } from './workspace.ts';

/** The client of the demo: connects, sends one file, and changes keys while it is under way. */
const ending = new AbortController();
const say: (message: ClientMessage) => void = speakWithParent(
  (message) => {
    if (isOrder(message)) ending.abort();
    else run(message as ClientSetup).catch((error: unknown) => fail(error));
  },
  () => ending.abort(),
);
// Ctrl-C at a terminal reaches every process there: the one that started us says when to end
process.on('SIGINT', () => undefined);

async function run(setup: ClientSetup): Promise<void> {
  say({ kind: 'started', pid: process.pid });
  const config = compile(loadConfig(await readFile(setup.config, 'utf8'), { file: setup.config }));
  const keys = setup.keylog === undefined ? undefined : new KeyLog(setup.keylog);
  const client = await createClient({ config, logKeys: keys !== undefined });
  client.onNotice(({ at, notice }) => tell(client, at, notice, keys));
  try {
    const { ikeSa, took } = await client.up({ connection: CONNECTION }, ending.signal);
    say({ kind: 'up', took, ikeSa: ikeSaDocument(ikeSa, isoClock(client.now()), 0) });
    await carry(client, setup, config.transfer.port);
    await aborted(ending.signal);
    await client.close();
  } catch (error) {
    // told to end in the middle: what that breaks is no failure
    if (!ending.signal.aborted) throw error;
  } finally {
    // a second time this does nothing; after a failure nobody may be left to answer
    await client.close(SHORT_GRACE);
    await keys?.flush();
  }
  process.stdin.destroy();
}

async function carry(client: Client, setup: ClientSetup, port: number): Promise<void> {
  const ledger = new SpiLedger();
  const looking = setInterval(() => ledger.look(client.ikeSas()), LOOK_EVERY);
  const rekeying = new Rekeying(client, setup);
  try {
    const sent = await send({
      file: setup.file,
      connect: async () => {
        const socket = await client.inside.connect({ host: GATEWAY_INNER, port });
        // The headers come on top, so the end of any file, however small, is still to go here: it waits for the new keys.
        return new HeldStream(socket, setup.size, () => rekeying.finish());
      },
      onProgress: (progress) => {
        say({ kind: 'progress', progress: progressToLine(progress) });
        if (progress.phase === 'sending') rekeying.reached(progress.bytes / progress.total);
      },
      signal: AbortSignal.any([ending.signal, rekeying.failed]),
    }).catch((error: unknown) => {
      throw rekeying.failed.aborted ? rekeying.failed.reason : error;
    });
    await rekeying.finish();
    // the connection is being closed, both ends count that
    await new Promise((resolve) => setTimeout(resolve, SETTLING));
    ledger.look(client.ikeSas());
    say({ kind: 'sent', bytes: sent.bytes, sha256: sent.sha256, took: sent.took, sas: sasOf(client), spis: ledger.counts });
  } finally {
    clearInterval(looking);
  }
}

/** Changes keys once at each of two points of the way. */
class Rekeying {
  readonly #client: Client;
  readonly #steps: { readonly at: number; readonly rekey: () => Promise<unknown> }[];
  readonly #begun: Promise<unknown>[] = [];
  readonly #failing = new AbortController();

  constructor(client: Client, { rekeyChildAt, rekeyIkeAt }: ClientSetup) {
    this.#client = client;
    this.#steps = [
      { at: rekeyChildAt, rekey: () => client.rekey({ child: this.#standing?.children.find((c) => c.state === 'installed')?.id }) },
      { at: rekeyIkeAt, rekey: () => client.rekey({ ikeSa: this.#standing?.id }) },
    ];
  }

  /** Aborted, with the error, when one of them failed. */
  get failed(): AbortSignal {
    return this.#failing.signal;
  }

  reached(part: number): void {
    for (let next = this.#steps[0]; next !== undefined && part >= next.at; next = this.#steps[0]) {
      this.#steps.shift();
      const begun = next.rekey();
      this.#begun.push(begun);
      begun.catch((error: unknown) => this.#failing.abort(error));
    }
  }

  /** Begins whatever has not begun, and resolves when all keys are new. */
  finish(): Promise<unknown> {
    this.reached(1);
    return Promise.all(this.#begun);
  }

  get #standing() {
    return this.#client.ikeSas().find((sa) => sa.state === 'established');
  }
}

function sasOf(client: Client): SasDocument {
  const now = client.now();
  const ikeSas = client.ikeSas().map((sa) => ikeSaDocument(sa, isoClock(now), 0));
  return { schema: 1, name: client.name, at: new Date(now.wall).toISOString(), ikeSas };
}

/** Keys go into their files and nowhere else; what failed is told once, by what ends the process. */
function tell(client: Client, at: number, notice: Notice, keys: KeyLog | undefined): void {
  keys?.note(notice);
  if (notice.kind === 'failed' || notice.kind === 'ike-down') return;
  const event: EventLine | undefined = noticeLine(notice, at, isoClock(client.now()), 0);
  if (event) say({ kind: 'event', event });
}

function fail(error: unknown): void {
  say(failureOf(error));
  process.exitCode = 1;
  process.stdin.destroy();
}

const isOrder = (message: unknown): message is Order => typeof message === 'object' && message !== null && 'kind' in message;

const LOOK_EVERY = 100;
/** Milliseconds. */
const SETTLING = 50;
const SHORT_GRACE = 300;

import { readFile } from 'node:fs/promises';
import type { Notice } from '../../core/ike/effects.ts';
import { speakWithParent } from '../../host/platform/worker-process.ts';
import { type Client, createClient } from '../../product/client/index.ts';
import { compile, loadConfig } from '../../product/config/index.ts';
import { type EventLine, ikeSaDocument, isoClock, noticeLine, progressToLine, type SasDocument } from '../../product/control/index.ts';
import { KeyLog } from '../../product/explain/key-log.ts';
import { send, type TransferProgress } from '../../product/transfer/index.ts';
import { failureOf } from './failure.ts';
import type { ClientMessage, ClientSetup, Order } from './messages.ts';
import { SpiLedger } from './spi-ledger.ts';
import { CONNECTION, GATEWAY_INNER } from './workspace.ts';

/** The client of the demo: connects, sends one file, and changes keys while it is under way. */
const say: (message: ClientMessage) => void = speakWithParent(
  (message) => {
    if (isOrder(message)) ended?.();
    else run(message as ClientSetup).catch((error: unknown) => fail(error));
  },
  () => ended?.(),
);
let ended: (() => void) | undefined;

async function run(setup: ClientSetup): Promise<void> {
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  say({ kind: 'started', pid: process.pid });
  const config = compile(loadConfig(await readFile(setup.config, 'utf8'), { file: setup.config }));
  const keys = setup.keylog === undefined ? undefined : new KeyLog(setup.keylog);
  const client = await createClient({ config, logKeys: keys !== undefined });
  client.onNotice(({ at, notice }) => tell(client, at, notice, keys));
  const { ikeSa, took } = await client.up({ connection: CONNECTION });
  say({ kind: 'up', took, ikeSa: ikeSaDocument(ikeSa, isoClock(client.now()), 0) });
  const ledger = new SpiLedger();
  const looking = setInterval(() => ledger.look(client.ikeSas()), LOOK_EVERY);
  try {
    await carry(client, setup, config.transfer.port, ledger);
  } finally {
    clearInterval(looking);
  }
  await end;
  await client.close();
  await keys?.flush();
  process.stdin.destroy();
}

async function carry(client: Client, setup: ClientSetup, port: number, ledger: SpiLedger): Promise<void> {
  const rekeys: Promise<void>[] = [];
  const steps = [
    { at: setup.rekeyChildAt, rekey: () => client.rekey({ child: standing(client)?.children.find((c) => c.state === 'installed')?.id }) },
    { at: setup.rekeyIkeAt, rekey: () => client.rekey({ ikeSa: standing(client)?.id }) },
  ];
  const onProgress = (progress: TransferProgress) => {
    say({ kind: 'progress', progress: progressToLine(progress) });
    const next = steps[0];
    if (progress.phase !== 'sending' || next === undefined || progress.bytes < next.at * progress.total) return;
    steps.shift();
    rekeys.push(next.rekey().then(() => undefined));
  };
  const sent = await send({ file: setup.file, connect: () => client.inside.connect({ host: GATEWAY_INNER, port }), onProgress });
  // a file so small that it went before its time came: the keys are changed all the same
  for (const { rekey } of steps) rekeys.push(rekey().then(() => undefined));
  await Promise.all(rekeys);
  ledger.look(client.ikeSas());
  say({ kind: 'sent', bytes: sent.bytes, sha256: sent.sha256, took: sent.took, sas: sasOf(client), spis: ledger.counts });
}

const standing = (client: Client) => client.ikeSas().find((sa) => sa.state === 'established');

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

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { speakWithParent } from '../../host/platform/worker-process.ts';
import { compile, loadConfig } from '../../product/config/index.ts';
import { createGateway } from '../../product/gateway/index.ts';
import { FileServer } from '../../product/transfer/index.ts';
import { type SpiCount, SpiLedger } from '../spi-ledger.ts';
import { aborted } from './aborted.ts';
import { failureOf } from './failure.ts';
import type { GatewayMessage, GatewaySetup, Order } from './messages.ts';

/** The gateway of the demo: the same library that `tunnelwright serve` runs, with a configuration file as a user writes it. */
const ending = new AbortController();
const say: (message: GatewayMessage) => void = speakWithParent(
  (message) => {
    if (isOrder(message)) obey(message);
    else run(message as GatewaySetup).catch((error: unknown) => fail(error));
  },
  () => ending.abort(),
);
// Ctrl-C at a terminal reaches every process there: the one that started us says when to end
process.on('SIGINT', () => undefined);

let count: () => readonly SpiCount[] = () => [];

function obey({ kind }: Order): void {
  if (kind === 'count') say({ kind: 'counted', spis: count() });
  else ending.abort();
}

async function run(setup: GatewaySetup): Promise<void> {
  const config = compile(loadConfig(await readFile(setup.config, 'utf8'), { file: setup.config }));
  const gateway = await createGateway({ config });
  await gateway.listen();
  const inbox = config.transfer.inbox ?? '';
  const files = await FileServer.open({
    inbox,
    onEvent: (event) => {
      if (event.kind === 'stored') say({ kind: 'stored', path: join(inbox, ...event.file.path), bytes: event.file.length });
    },
  });
  files.serve(gateway.listenTcp(config.transfer.port));
  const ledger = new SpiLedger();
  const looking = setInterval(() => ledger.look(gateway.ikeSas()), LOOK_EVERY);
  count = () => {
    ledger.look(gateway.ikeSas());
    return ledger.counts;
  };
  const [sockets] = gateway.sockets;
  say({ kind: 'listening', pid: process.pid, ike: sockets?.ike?.port ?? 0, nat: sockets?.nat.port ?? 0 });
  await aborted(ending.signal);
  clearInterval(looking);
  say({ kind: 'ended', ikeSas: gateway.ikeSas().filter((sa) => sa.state === 'established').length });
  await files.close();
  // clients that are still there were cut off; on loopback they answer at once or not at all
  await gateway.close(SHORT_GRACE);
  process.stdin.destroy();
}

function fail(error: unknown): void {
  say(failureOf(error));
  process.exitCode = 1;
  process.stdin.destroy();
}

const isOrder = (message: unknown): message is Order => typeof message === 'object' && message !== null && 'kind' in message;

const LOOK_EVERY = 100;
/** Milliseconds. */
const SHORT_GRACE = 300;

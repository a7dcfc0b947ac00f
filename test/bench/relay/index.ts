import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Dialogue } from '../../interop/support/dialogue.ts';
import { addInside, addNamespace, type Host, networkName } from '../../interop/support/network.ts';
import { Daemon, eventually, must, PATIENCE } from '../../interop/support/process.ts';
import { Scope } from '../../interop/support/scope.ts';
import { type CommandLine, largestIn } from '../../interop/transfer/ends.ts';
import { type Row, row } from '../measure.ts';
import { PORT as LOAD_PORT, UdpFlow } from '../planes/udp.ts';
import { type Contestant, type Lab, rsyncOverStrongswan, sendOfOurs } from './contestants.ts';
import type { PathConditions } from './udp-relay.ts';

/**
 * A file through a tunnel whose datagrams all pass one relay in user space: by our `send`, and by rsync over strongSwan. What the relay itself
 * carries is measured first, since nobody is faster than that.
 */
export async function* measureRelay(rounds: number, quick: boolean): AsyncGenerator<Row> {
  const scope = new Scope();
  try {
    const mebibytes = quick ? 32 : 1024;
    const lab = await openLab(scope, (file) => must('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${mebibytes}`, 'status=none']));
    const relay = await startRelay(scope, lab);
    yield await ceiling(scope, lab, relay, quick);
    const contestants = [sendOfOurs, await rsyncOverStrongswan(lab)];
    const clean = new Map<Contestant, number[]>(contestants.map((each) => [each, []]));
    const lossy = new Map<Contestant, number[]>(contestants.map((each) => [each, []]));
    for (let round = 0; round < rounds; round++) {
      for (const contestant of contestants) {
        clean.get(contestant)!.push((mebibytes * 2 ** 20) / 1e3 / (await whole(lab, relay, contestant)));
        lossy.get(contestant)!.push(await rate(lab, relay, contestant, quick ? 5 : 60));
      }
    }
    for (const [{ name }, runs] of clean) yield row(`a file of ${mebibytes} MiB by the relay`, name, 'MB/s', runs);
    for (const [{ name }, runs] of lossy)
      yield row(`the same, 0.5 % loss and 100 ms there and back, ${quick ? 5 : 60} s`, name, 'MB/s', runs);
  } finally {
    await scope.close();
  }
}

/** A folder with many files in it, by the same relay: what a file costs besides its octets. */
export async function* measureSmallFiles(rounds: number, quick: boolean): AsyncGenerator<Row> {
  const scope = new Scope();
  try {
    const files = quick ? 5000 : 100_000;
    const lab = await openLab(scope, (folder) => smallFiles(folder, files));
    const relay = await startRelay(scope, lab);
    for (const contestant of [sendOfOurs, await rsyncOverStrongswan(lab)]) {
      const runs: number[] = [];
      for (let round = 0; round < rounds; round++) runs.push(files / ((await whole(lab, relay, contestant)) / 1000));
      yield row(`${files} files of 1 KiB in folders of ${FILES_IN_FOLDER} by the relay`, contestant.name, 'files/s', runs);
    }
  } finally {
    await scope.close();
  }
}

async function smallFiles(folder: string, count: number): Promise<void> {
  const random = new SeededRandom('files');
  for (let i = 0; i < count; i++) {
    const below = join(folder, String(Math.floor(i / FILES_IN_FOLDER)));
    if (i % FILES_IN_FOLDER === 0) await mkdir(below, { recursive: true });
    await writeFile(join(below, String(i)), random.bytes(1024));
  }
}

/** Three namespaces in a row; the one in the middle forwards nothing but what the relay does. */
async function openLab(scope: Scope, make: (path: string) => Promise<unknown>): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-relay-'));
  scope.defer(folder, () => rm(folder, { recursive: true, force: true }));
  const name = networkName();
  const middle = `${name}-m`;
  const host = (side: string, address: string, peerAddress: string, prefix: string): Host => {
    return { namespace: `${name}-${side}`, device: 'outside', address, peerAddress, network: `${prefix}.0/24`, inside: `${prefix}.1` };
  };
  const [left, right] = [host('l', '10.8.0.1', '10.8.0.2', '10.1.0'), host('r', '10.9.0.2', '10.9.0.1', '10.2.0')];
  for (const namespace of [left.namespace, middle, right.namespace]) await addNamespace(scope, namespace);
  for (const { namespace, device, address, peerAddress } of [left, right]) {
    const towards = `to-${namespace.at(-1)}`;
    await must('ip', ['link', 'add', device, 'netns', namespace, 'type', 'veth', 'peer', 'name', towards, 'netns', middle]);
    await must('ip', ['-n', namespace, 'addr', 'add', `${address}/24`, 'dev', device]);
    await must('ip', ['-n', middle, 'addr', 'add', `${peerAddress}/24`, 'dev', towards]);
    for (const [where, what] of [
      [namespace, 'lo'],
      [namespace, device],
      [middle, towards],
    ] as const)
      await must('ip', ['-n', where, 'link', 'set', what, 'up']);
  }
  for (const end of [left, right]) await addInside(end);
  const file = join(folder, 'data.bin');
  await make(file);
  return { folder, file, left, middle, right };
}

type Relay = (conditions: PathConditions) => Promise<PathConditions>;

async function startRelay(scope: Scope, { left, middle, right }: Lab): Promise<Relay> {
  const args = [left.peerAddress, right.peerAddress, right.address, `500,4500,${LOAD_PORT}`];
  const relay = await Dialogue.start(scope, 'relay', 'ip', ['netns', 'exec', middle, process.execPath, SCRIPT, ...args]);
  return (conditions) => relay.ask<PathConditions, PathConditions>(conditions);
}

async function ceiling(scope: Scope, { left, right }: Lab, relay: Relay, quick: boolean): Promise<Row> {
  await relay(CLEAN);
  const at = (host: Host): Host => ({ ...host, inside: host.address });
  const flow = await UdpFlow.start(scope, at(left), at(right), left.peerAddress);
  const { packets, seconds } = await flow.throughput(OCTETS, quick ? 2 : 10, (hold) => hold());
  return row(`what the relay carries one way, datagrams of ${OCTETS} octets`, 'relay', 'MB/s', [(packets * OCTETS) / seconds / 1e6]);
}

/** @returns milliseconds from the start of the command to its end */
async function whole(lab: Lab, relay: Relay, contestant: Contestant): Promise<number> {
  return withTunnel(lab, relay, contestant, CLEAN, async ({ sends: [command, args, options], inbox }) => {
    const began = performance.now();
    await must(command, args, { ...options, timeout: LONGEST });
    const took = performance.now() - began;
    await must('diff', ['-rq', lab.file, join(inbox, 'data.bin')]);
    return took;
  });
}

/** @returns millions of octets per second that were written at the other end, from the first octet on */
async function rate(lab: Lab, relay: Relay, contestant: Contestant, seconds: number): Promise<number> {
  return withTunnel(lab, relay, contestant, LOSSY, async ({ sends: [command, args, options], inbox }) => {
    const sending = new Scope();
    try {
      const daemon = new Daemon(sending, contestant.name, command, args, options);
      const logs = (): string => daemon.output;
      const first = await eventually('the first octets arrive', async () => (await largestIn(inbox)) || undefined, PATIENCE, logs);
      const began = performance.now();
      while (daemon.running && performance.now() - began < seconds * 1000) await sleep(50);
      const passed = performance.now() - began;
      return ((await largestIn(inbox)) - first) / 1e3 / passed;
    } finally {
      await sending.close();
    }
  });
}

interface Sends {
  readonly sends: CommandLine;
  readonly inbox: string;
}

async function withTunnel<T>(
  lab: Lab,
  relay: Relay,
  contestant: Contestant,
  path: PathConditions,
  use: (ready: Sends) => Promise<T>,
): Promise<T> {
  const scope = new Scope();
  try {
    const folder = await mkdtemp(join(lab.folder, 'run-'));
    scope.defer(folder, () => rm(folder, { recursive: true, force: true }));
    await relay(CLEAN);
    const ready = await contestant.start(scope, { ...lab, folder });
    await relay(path);
    return await use(ready);
  } finally {
    await scope.close();
  }
}

const FILES_IN_FOLDER = 500;
const CLEAN: PathConditions = { loss: 0, delay: 0 };
const LOSSY: PathConditions = { loss: 0.005, delay: 50 };
/** `udp-relay.ts`, compiled. */
const SCRIPT = join('dist', '.tools', 'test', 'bench', 'relay', 'udp-relay.js');
/** As ESP in UDP fills a link of 1500. */
const OCTETS = 1400;
/** Milliseconds. */
const LONGEST = 20 * 60_000;

import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Address, DataPlaneError, parseIp } from '../../../src/core/bytes/index.ts';
import type { Notice } from '../../../src/core/ike/effects.ts';
import type { IkeSaStatus } from '../../../src/host/engine/engine.ts';
import type { MachineDial, MachineStream } from '../../../src/host/platform/machine-sockets.ts';
import { MachineWay } from '../../../src/product/reach/machine-way.ts';
import { ikeSa } from '../control/fake-target.ts';

type Child = IkeSaStatus['children'][number];

const OURS = '10.66.0.5';
const THEIRS = '10.2.0.9';

const range = (start: string, end = start, more: object = {}) =>
  ({ type: 7, protocol: 0, startPort: 0, endPort: 65_535, start: parseIp(start), end: parseIp(end), ...more }) as const;

const child = (changes: Partial<Child> = {}): Child => ({
  ...ikeSa().children[0]!,
  localTs: [range(OURS)],
  remoteTs: [range('10.2.0.0', '10.2.0.255')],
  ...changes,
});

/** A connection that stands and knows what became of it. */
class FakeStream extends Duplex {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  wasReset = false;

  constructor(local: Address, remote: Address) {
    super({ read: () => undefined });
    [this.localAddress, this.localPort, this.remoteAddress, this.remotePort] = [local.ip, local.port, remote.ip, remote.port];
  }

  resetAndDestroy(): this {
    this.wasReset = true;
    return this.destroy();
  }
}

/** A way over sockets of nobody's, through the children that are set. */
class Scene {
  children: readonly Child[] = [child()];
  sa: Partial<IkeSaStatus> = { assigned: [OURS], assignedToUs: true };
  readonly dials: MachineDial[] = [];
  readonly streams: FakeStream[] = [];
  readonly listening = new Map<string, (stream: MachineStream) => void>();
  /** What happens before a connection stands. */
  meanwhile = (): void => undefined;
  readonly way: MachineWay;
  #tell = (_event: { readonly at: number; readonly notice: Notice }): void => undefined;

  constructor(addresses: readonly string[] = []) {
    this.way = new MachineWay({
      addresses,
      instance: {
        ikeSas: () => [ikeSa({ ...this.sa, children: this.children })],
        facts: () => ({ plane: 'tun', decision: undefined, listen: [], startedAt: 0 }),
        onNotice: (listener) => {
          this.#tell = listener;
          return () => undefined;
        },
      },
      sockets: {
        connect: async (dial) => {
          this.dials.push(dial);
          this.meanwhile();
          return this.stream({ ip: dial.from, port: 40_000 }, dial.to);
        },
        listen: async ({ ip }, onConnection) => {
          this.listening.set(ip, onConnection);
          return () => void this.listening.delete(ip);
        },
        close: () => undefined,
      },
    });
  }

  stream(local: Address, remote: Address): MachineStream {
    const stream = new FakeStream(local, remote);
    this.streams.push(stream);
    return stream as unknown as MachineStream;
  }

  async become(children: readonly Child[], kind: 'child-down' | 'child-rekeyed' | 'child-up'): Promise<void> {
    this.children = children;
    this.#tell({ at: 0, notice: { kind } as Notice });
    await setImmediate();
    await setImmediate();
  }
}

const to = (host: string, port = 9467) => ({ host, port });

test('dials from the address that the tunnel gave us, to what it covers', async () => {
  const scene = new Scene();
  await scene.way.connect(to(THEIRS));
  expect(scene.dials).toMatchObject([{ from: OURS, to: { ip: THEIRS, port: 9467 } }]);
});

test.each([
  ['outside of the remote selectors', '10.3.0.1', {}],
  ['of the other family', 'fd00::1', {}],
  ['a child that is being made', THEIRS, { state: 'installing' }],
  ['another protocol', THEIRS, { remoteTs: [range('10.2.0.0', '10.2.0.255', { protocol: 17 })] }],
  ['another port', THEIRS, { remoteTs: [range('10.2.0.0', '10.2.0.255', { startPort: 80, endPort: 80 })] }],
  ['ports of ours that we cannot be sure to get', THEIRS, { localTs: [range(OURS, OURS, { startPort: 1000, endPort: 2000 })] }],
  ['OPAQUE ports', THEIRS, { remoteTs: [range('10.2.0.0', '10.2.0.255', { startPort: 65_535, endPort: 0 })] }],
  ['an address that is none of ours', THEIRS, { localTs: [range('192.0.2.77')] }],
])('%s: nothing is dialled', async (_what, host, changes) => {
  const scene = new Scene();
  scene.children = [child(changes)];
  await expect(scene.way.connect(to(host))).rejects.toMatchObject({ code: 'OUTSIDE_TUNNEL' });
  expect(scene.dials).toEqual([]);
});

test('an IKE SA that is down covers nothing', async () => {
  const scene = new Scene();
  scene.sa = { ...scene.sa, state: 'dead' };
  await expect(scene.way.connect(to(THEIRS))).rejects.toMatchObject({ code: 'OUTSIDE_TUNNEL' });
});

test('a name is not asked for, since the question would leave outside', async () => {
  const scene = new Scene();
  const refused = scene.way.connect(to('files.internal'));
  await expect(refused).rejects.toBeInstanceOf(DataPlaneError);
  await expect(refused).rejects.toMatchObject({ code: 'NAME_OUTSIDE' });
  expect(scene.dials).toEqual([]);
});

test('a connection outlives a rekeying, and is reset when nothing covers it any more', async () => {
  const scene = new Scene();
  await scene.way.connect(to(THEIRS));
  for (const state of ['rekeying', 'rekeyed'] as const) await scene.become([child({ state })], 'child-up');
  await scene.become([child({ id: 99 })], 'child-rekeyed');
  expect(scene.streams[0]!.wasReset).toBe(false);
  await scene.way.connect(to(THEIRS));
  await scene.become([], 'child-down');
  expect(scene.streams[0]!.wasReset).toBe(true);
});

test('a tunnel that goes while a connection is made: it is reset', async () => {
  const scene = new Scene();
  scene.meanwhile = () => {
    scene.children = [];
  };
  await expect(scene.way.connect(to(THEIRS))).rejects.toMatchObject({ code: 'OUTSIDE_TUNNEL' });
  expect(scene.streams.map(({ wasReset }) => wasReset)).toEqual([true]);
});

test('listens at inner addresses alone, and follows them', async () => {
  const scene = new Scene(['10.66.0.1/24']);
  scene.sa = { assigned: [OURS], assignedToUs: false };
  const listener = await scene.way.listenTcp(9467, () => undefined);
  expect([...scene.listening.keys()], 'what we gave to a peer is not ours').toEqual(['10.66.0.1']);
  scene.sa = { assigned: ['10.70.0.3'], assignedToUs: true };
  await scene.become([child()], 'child-up');
  expect([...scene.listening.keys()]).toEqual(['10.66.0.1', '10.70.0.3']);
  scene.sa = { assigned: ['10.70.0.4'], assignedToUs: true };
  await scene.become([child()], 'child-up');
  expect([...scene.listening.keys()]).toEqual(['10.66.0.1', '10.70.0.4']);
  listener.close();
  expect(scene.listening.size).toBe(0);
});

test('takes connections that a CHILD_SA covers; a stranger’s is reset', async () => {
  const scene = new Scene();
  const taken: Address[] = [];
  await scene.way.listenTcp(9467, (_stream, from) => taken.push(from));
  const local = { ip: OURS, port: 9467 };
  const accept = scene.listening.get(OURS)!;
  accept(scene.stream(local, { ip: '192.0.2.1', port: 50_000 }));
  accept(scene.stream(local, { ip: THEIRS, port: 50_001 }));
  expect(taken).toEqual([{ ip: THEIRS, port: 50_001 }]);
  expect(scene.streams.map(({ wasReset }) => wasReset)).toEqual([true, false]);
});

test('an address that cannot be listened at is told to whoever asked first', async () => {
  const scene = new Scene();
  const taken = new DataPlaneError('another program listens there already', { code: 'EADDRINUSE' });
  scene.listening.set = () => {
    throw taken;
  };
  await expect(scene.way.listenTcp(9467, () => undefined)).rejects.toBe(taken);
});

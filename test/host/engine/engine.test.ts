import { describe, expect, test } from 'vitest';
import { ApiMisuse, AuthenticationFailure, DataPlaneError, InternalError } from '../../../src/core/bytes/index.ts';
import type { Ask, Notice } from '../../../src/core/ike/effects.ts';
import memory, { MemoryPlane } from '../../../src/host/dataplane/backends/memory.ts';
import type { Credentials } from '../../../src/host/engine/asks.ts';
import { Engine, type EngineOptions } from '../../../src/host/engine/engine.ts';
import type { Host } from '../../../src/testing/host.ts';
import { Internet } from '../../../src/testing/internet.ts';
import type { Packet } from '../../../src/testing/network.ts';
import { childSpec, connection, FakeCore, ikeSa } from '../support/fake-core.ts';
import { pass, settle, virtualPlatform } from '../support/virtual-platform.ts';

const US = '198.51.100.2';
const PEER = '203.0.113.7';

const nobody: Credentials = {
  authenticate: () => ({ ok: false, error: new AuthenticationFailure('no key', { code: 'NO_KEY' }) }),
  verify: () => ({ ok: false, error: new AuthenticationFailure('unknown', { code: 'UNKNOWN_PEER' }) }),
};

interface World {
  readonly engine: Engine<MemoryPlane>;
  readonly core: FakeCore;
  readonly plane: MemoryPlane;
  readonly internet: Internet;
  readonly us: Host;
  readonly peer: Host;
  /** What the peer received on 500 and 4500. */
  readonly sent: Packet[];
  readonly notices: Notice[];
  send(port: number, ...octets: number[]): Promise<void>;
}

async function world(options: Partial<EngineOptions<MemoryPlane>> = {}, listening = true): Promise<World> {
  const internet = new Internet(1);
  const us = internet.host('us', { addresses: [US] });
  const peer = internet.host('peer', { addresses: [PEER] });
  const sent: Packet[] = [];
  for (const port of [500, 4500]) peer.bind(port, (packet) => sent.push(packet));
  const core = new FakeCore();
  const engine = await Engine.open<MemoryPlane>({
    platform: virtualPlatform(internet, us),
    core: () => core,
    credentials: nobody,
    backend: memory,
    connections: [connection('road')],
    ...options,
  });
  if (listening) await engine.listen({ addresses: ['%any'], ports: { ike: 500, nat: 4500 } });
  core.observed.length = 0; // what is listened on is told at once
  const notices: Notice[] = [];
  engine.events.on('notice', ({ notice }) => notices.push(notice));
  const send = async (port: number, ...octets: number[]): Promise<void> => {
    peer.send({ protocol: 'udp', source: { ip: PEER, port }, destination: { ip: US, port }, data: Uint8Array.from(octets) });
    await settle(internet.clock);
  };
  return { engine, core, plane: engine.plane, internet, us, peer, sent, notices, send };
}

const addressOf = (port: number): { ip: string; port: number } => ({ ip: US, port });
const peerAt = (port: number): { ip: string; port: number } => ({ ip: PEER, port });

describe('the one reader of each socket', () => {
  /** As long as the shortest IKE message. */
  const body = Array.from({ length: 28 }, (_, i) => i + 1);

  test('on 500 everything is IKE, without a marker', async () => {
    const { core, send } = await world();
    await send(500, 0, 0, 0, 0, 9);
    expect(core.received).toEqual([{ local: addressOf(500), remote: peerAt(500), data: Uint8Array.of(0, 0, 0, 0, 9), encap: false }]);
  });

  test('on 4500 four zero octets mark IKE and are taken off', async () => {
    const { core, plane, send } = await world();
    await send(4500, 0, 0, 0, 0, ...body);
    expect(core.received).toEqual([{ local: addressOf(4500), remote: peerAt(4500), data: Uint8Array.from(body), encap: true }]);
    expect(plane.packets).toEqual([]);
  });

  test('on 4500 anything else is ESP and goes to the data plane', async () => {
    const { core, plane, send } = await world();
    await send(4500, 0, 0, 1, 0, ...body);
    expect(plane.packets).toEqual([Uint8Array.of(0, 0, 1, 0, ...body)]);
    expect(core.received).toEqual([]);
  });

  test('keepalives and scraps end here, counted', async () => {
    const { core, plane, engine, send } = await world();
    await send(4500, 0xff);
    await send(4500, 0, 0, 0, 0);
    await send(4500, 7);
    await send(4500);
    await send(4500, 0, 0, 0, 7, ...body); // a reserved SPI
    expect([core.received.length, plane.packets.length]).toEqual([0, 0]);
    expect(engine.counters.get('datagrams', 'keepalive in')).toBe(1);
    expect(engine.counters.get('datagrams', 'neither IKE nor ESP')).toBe(4);
  });
});

describe('what the core wants sent', () => {
  test('goes through the socket of its role, with the marker where ESP may be', async () => {
    const { core, engine, internet, sent } = await world();
    const data = Uint8Array.of(1, 2);
    core.wish(
      { kind: 'transmit', datagram: { local: addressOf(500), remote: peerAt(500), data, encap: false } },
      { kind: 'transmit', datagram: { local: addressOf(4500), remote: peerAt(4500), data, encap: true } },
    );
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await settle(internet.clock);
    expect(sent.map(({ source, data: octets }) => [source.port, ...octets])).toEqual([
      [500, 1, 2],
      [4500, 0, 0, 0, 0, 1, 2],
    ]);
  });

  test('from an address without a socket is dropped and counted', async () => {
    const { core, engine, internet, sent } = await world();
    core.wish({
      kind: 'transmit',
      datagram: { local: { ip: '192.0.2.1', port: 500 }, remote: peerAt(500), data: Uint8Array.of(1), encap: false },
    });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await settle(internet.clock);
    expect(sent).toEqual([]);
    expect(engine.counters.get('datagrams', 'no socket for this address')).toBe(1);
  });
});

describe('time', () => {
  test('one timer follows the earliest deadline, also when it moves forward', async () => {
    const { core, engine, internet } = await world();
    core.deadline = internet.clock.now + 1000;
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    core.deadline = internet.clock.now + 400;
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await pass(internet.clock, 399);
    expect(core.expiredAt).toEqual([]);
    await pass(internet.clock, 1);
    expect(core.expiredAt).toEqual([400]);
  });

  test('a deadline that moved back is waited for again', async () => {
    const { core, engine, internet } = await world();
    core.deadline = 100;
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    core.deadline = 900;
    await pass(internet.clock, 899);
    expect(core.expiredAt).toEqual([]);
    await pass(internet.clock, 1);
    expect(core.expiredAt).toEqual([900]);
  });

  test('a core that is always due is called again, turn by turn, without blocking the rest', async () => {
    const { core, engine, internet } = await world();
    let calls = 0;
    core.onExpire = (now) => {
      core.deadline = ++calls < 5 ? now : undefined;
    };
    core.deadline = 10;
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await pass(internet.clock, 20);
    expect(core.expiredAt).toEqual([10, 10, 10, 10, 10]);
  });
});

describe('asks', () => {
  const authenticate: Ask = {
    kind: 'authenticate',
    connection: 'road',
    auth: { auth: 'psk', id: undefined },
    localId: undefined,
    remoteId: undefined,
    octets: () => new Uint8Array(1),
    prf: 5,
    peerHashes: undefined,
    certificateAuthorities: [],
    sendCertificates: false,
  };
  const signed = { ok: true, id: { idType: 2, data: Uint8Array.of(1) }, method: 2, data: Uint8Array.of(2), certificates: [] } as const;

  test('the credentials answer at once, and are told the wall clock', async () => {
    const walls: number[] = [];
    const { core, engine } = await world({
      credentials: {
        ...nobody,
        authenticate: (_ask, wall) => {
          walls.push(wall);
          return signed;
        },
      },
    });
    core.ask(authenticate);
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(core.answers).toEqual([{ ask: 1, result: signed }]);
    expect(walls).toEqual([Date.UTC(2026, 0, 1)]);
  });

  test('what an answer causes is done in the same turn', async () => {
    const { core, engine, internet, sent } = await world({ credentials: { ...nobody, authenticate: () => signed } });
    core.onAnswer = () =>
      core.wish({ kind: 'transmit', datagram: { local: addressOf(500), remote: peerAt(500), data: Uint8Array.of(5), encap: false } });
    core.ask(authenticate);
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await settle(internet.clock);
    expect(sent.length).toBe(1);
  });

  test('a key holder that takes its time answers later; meanwhile everything goes on', async () => {
    let sign = (): void => undefined;
    const { core, engine, send } = await world({
      credentials: { ...nobody, authenticate: () => new Promise((resolve) => (sign = () => resolve(signed))) },
    });
    core.ask(authenticate);
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await send(500, 1);
    expect([core.received.length, core.answers.length]).toEqual([1, 0]);
    sign();
    await send(500, 2);
    expect(core.answers).toEqual([{ ask: 1, result: signed }]);
  });

  test('an answer nobody waits for any more is not given', async () => {
    let sign = (): void => undefined;
    const { core, engine, send } = await world({
      credentials: { ...nobody, authenticate: () => new Promise((resolve) => (sign = () => resolve(signed))) },
    });
    const id = core.ask(authenticate);
    core.wish({ kind: 'cancel', id });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    sign();
    await send(500, 1);
    expect(core.answers).toEqual([]);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('smart card pulled');
      },
    ],
    ['rejects', () => Promise.reject(new Error('smart card pulled'))],
  ] as const)('credentials that fail (%s) become a refusal', async (_how, fail) => {
    const { core, engine, send } = await world({ credentials: { ...nobody, authenticate: fail } });
    core.ask(authenticate);
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await send(500, 1);
    expect(core.answers).toMatchObject([
      { ask: 1, result: { ok: false, error: { code: 'INTERNAL_ERROR', message: expect.stringContaining('smart card') } } },
    ]);
  });

  test('without a hook every authenticated peer may come in; the hook may say no, with a reason for us', async () => {
    const ask: Ask = {
      kind: 'authorise',
      connection: 'road',
      remoteId: { idType: 2, data: Uint8Array.of(1) },
      remote: peerAt(500),
      resumed: false,
    };
    const open = await world();
    open.core.ask(ask);
    open.engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(open.core.answers).toEqual([{ ask: 1, result: { ok: true } }]);
    const shut = await world({ authorise: () => Promise.resolve('suspended since Monday') });
    shut.core.ask(ask);
    shut.engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await settle(shut.internet.clock);
    expect(shut.core.answers).toMatchObject([
      { result: { ok: false, error: { code: 'NOT_AUTHORISED', message: expect.stringContaining('suspended since Monday') } } },
    ]);
  });

  test('a CHILD_SA stands in the data plane before the core hears so', async () => {
    const { core, engine, plane } = await world();
    core.onAnswer = () => expect(plane.children.map(({ id }) => id)).toEqual([7]);
    core.ask({ kind: 'install', spec: childSpec(7) });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(core.answers).toEqual([{ ask: 1, result: { ok: true } }]);
  });

  test('a data plane that refuses answers with its own error', async () => {
    const { core, engine, plane } = await world();
    plane.refuse = new DataPlaneError('no privilege', { code: 'NO_PRIVILEGE' });
    core.ask({ kind: 'install', spec: childSpec(7) });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(core.answers).toMatchObject([{ result: { ok: false, error: { code: 'NO_PRIVILEGE' } } }]);
  });

  test('an install that was cancelled while the data plane worked is undone', async () => {
    let done = (): void => undefined;
    class SlowPlane extends MemoryPlane {
      override async install(spec: Parameters<MemoryPlane['install']>[0]): Promise<void> {
        await new Promise<void>((resolve) => (done = resolve));
        super.install(spec);
      }
    }
    const { core, engine, plane, internet } = await world({
      backend: { ...memory, open: (options) => new SlowPlane(options) as unknown as MemoryPlane },
    });
    const id = core.ask({ kind: 'install', spec: childSpec(7) });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    core.wish({ kind: 'cancel', id });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    done();
    await settle(internet.clock);
    expect(plane.records.map(({ kind }) => kind)).toEqual(['install', 'remove']);
    expect(core.answers).toEqual([]);
  });
});

describe('children', () => {
  test('updates and removals reach the data plane', async () => {
    const { core, engine, plane } = await world();
    core.ask({ kind: 'install', spec: childSpec(1) });
    core.ask({ kind: 'install', spec: childSpec(2, { outboundActive: false, replaces: 1 }) });
    core.wish(
      { kind: 'child-update', child: 2, change: { kind: 'activate-outbound' } },
      { kind: 'child-update', child: 2, change: { kind: 'owner', ikeSa: 5 } },
      { kind: 'child-remove', child: 1, reason: 'rekeyed' },
    );
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(plane.children).toMatchObject([{ id: 2, ikeSa: 5, outboundActive: true }]);
  });

  test('what the data plane sees is told to the core', async () => {
    const { core, plane } = await world();
    plane.options.onObservation({ kind: 'inbound-traffic', child: 3 });
    expect(core.observed).toEqual([{ kind: 'inbound-traffic', child: 3 }]);
  });

  test('status joins what the core knows and what the data plane counted', async () => {
    const { core, engine } = await world();
    core.ask({ kind: 'install', spec: childSpec(4) });
    const child = {
      id: 4,
      name: 'net',
      state: 'INSTALLED',
      protocol: 'ESP',
      mode: 'tunnel',
      inboundSpi: 1,
      outboundSpi: 2,
      suite: '',
      localTs: [],
      remoteTs: [],
      establishedAt: 0,
      rekeyAt: undefined,
    } as const;
    core.sas = [ikeSa(1, { children: [child] })];
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(engine.info()[0]!.children[0]!.counters).toMatchObject({ inbound: { packets: 0 }, outbound: { bytes: 0 } });
  });
});

describe('leases', () => {
  const request = { type: 1, value: new Uint8Array(0) };
  const leaseAsk: Ask = {
    kind: 'lease',
    connection: 'road',
    pools: ['lan'],
    remoteId: { idType: 2, data: Uint8Array.of(1) },
    requested: [request],
  };
  const pools = [{ name: 'lan', ranges: ['10.66.0.0/29'] }];

  test('are given and come back; an IKE rekey changes neither', async () => {
    const { core, engine } = await world({ pools });
    core.ask(leaseAsk, 1);
    core.notice({ kind: 'ike-rekeyed', from: 1, to: 2, byUs: true });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(core.answers).toMatchObject([{ result: { ok: true, addresses: ['10.66.0.1'] } }]);
    expect(engine.leases.list()).toMatchObject([{ ip: '10.66.0.1', ikeSa: 1 }]);
    core.wish({ kind: 'lease-release', ikeSa: 1 });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(engine.leases.list()).toMatchObject([{ ip: '10.66.0.1', ikeSa: undefined }]);
  });

  test('stand again after a restart, whoever began the IKE SA that rekeyed the first; what is ours is nobody’s lease', async () => {
    const { engine } = await world({ pools });
    const sas = [
      ikeSa(3, { role: 'responder', assigned: ['10.66.0.4'] }),
      ikeSa(4, { role: 'initiator', assigned: ['10.66.0.5'] }),
      ikeSa(5, { role: 'initiator', assigned: ['10.66.0.6'], assignedToUs: true }),
    ];
    engine.restore({ core: { sas }, sequences: [] });
    expect(engine.leases.list()).toMatchObject([
      { ip: '10.66.0.4', ikeSa: 3 },
      { ip: '10.66.0.5', ikeSa: 4 },
    ]);
  });
});

describe('what goes wrong stays inside', () => {
  test('a core that throws at a datagram is a defect that is told, and the next datagram is read', async () => {
    const { core, engine, notices, send } = await world();
    core.onReceive = ({ data }) => {
      if (data[0] === 1) throw new RangeError('index out of range');
    };
    await send(500, 1);
    await send(500, 2);
    expect(core.received.length).toBe(2);
    expect(notices).toMatchObject([
      { kind: 'failed', what: 'a datagram', error: { code: 'INTERNAL_ERROR', message: expect.stringContaining('index out of range') } },
    ]);
    expect((notices[0] as { error: unknown }).error).toBeInstanceOf(InternalError);
    expect(engine.counters.get('errors', 'INTERNAL_ERROR')).toBe(1);
  });

  test('an effect that fails does not lose those behind it', async () => {
    const { core, engine, plane, internet } = await world();
    plane.update = () => {
      throw new Error('device gone');
    };
    core.wish({ kind: 'child-update', child: 1, change: { kind: 'activate-outbound' } });
    core.ask({ kind: 'install', spec: childSpec(9) });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await settle(internet.clock);
    expect(plane.children.map(({ id }) => id)).toEqual([9]);
  });

  test('a listener that throws is told to the others, and does not go round in circles', async () => {
    const { engine, core, notices } = await world();
    engine.events.on('notice', () => {
      throw new Error('disk full');
    });
    core.notice({ kind: 'ike-rekeyed', from: 1, to: 2, byUs: true });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(notices.map(({ kind }) => kind)).toEqual(['ike-rekeyed', 'failed']);
    expect(engine.counters.get('errors', 'LISTENER_FAILED')).toBe(2);
  });

  test('a flood of drops is counted in full and shown in part', async () => {
    const { core, engine, notices } = await world();
    for (let i = 0; i < 500; i++) core.notice({ kind: 'drop', cause: 'malformed', remote: peerAt(500), detail: '' });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(engine.counters.get('drops', 'malformed')).toBe(500);
    expect(notices.length).toBe(100);
  });

  test('a listener may give commands; the effects of both stay in order', async () => {
    const { core, engine, notices } = await world();
    core.onCommand = (command) => {
      if (command.kind === 'delete-ike') core.notice({ kind: 'ike-down', ikeSa: 1, connection: 'road', reason: 'ours', error: undefined });
      return undefined;
    };
    engine.events.once('notice', () => engine.command({ kind: 'delete-ike', ikeSa: 1 }));
    core.notice({ kind: 'ike-rekeyed', from: 1, to: 2, byUs: true });
    core.notice({ kind: 'nat', ikeSa: 1, ours: false, theirs: false, forced: false });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    expect(notices.map(({ kind }) => kind)).toEqual(['ike-rekeyed', 'nat', 'ike-down']);
  });
});

describe('NAT keepalives', () => {
  const behindNat = ikeSa(1, { natOurs: true });
  const keepalives = ({ sent }: World): number => sent.filter(({ data }) => data.length === 1 && data[0] === 0xff).length;

  async function established(info = behindNat): Promise<World> {
    const built = await world();
    built.core.sas = [info];
    built.core.notice({ kind: 'ike-up', ikeSa: info.id, info });
    built.engine.command({ kind: 'check-liveness', ikeSa: 1 });
    return built;
  }

  test('go out when nothing else did for the interval', async () => {
    const built = await established();
    await pass(built.internet.clock, 19_999);
    expect(keepalives(built)).toBe(0);
    await pass(built.internet.clock, 1);
    expect(keepalives(built)).toBe(1);
    await pass(built.internet.clock, 60_000);
    expect(keepalives(built)).toBe(4);
  });

  test('are spared by IKE and by ESP', async () => {
    const built = await established();
    const { core, engine, plane, internet } = built;
    await pass(internet.clock, 15_000);
    core.wish({ kind: 'transmit', datagram: { local: addressOf(4500), remote: peerAt(4500), data: Uint8Array.of(1), encap: true } });
    core.ask({ kind: 'install', spec: childSpec(1) });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await pass(internet.clock, 19_000); // 34 s, IKE at 15 s
    expect(keepalives(built)).toBe(0);
    plane.counters = () => ({
      inbound: { packets: 0, bytes: 0, lastUse: undefined },
      outbound: { packets: 1, bytes: 1, lastUse: 34_000 },
      drops: {},
    });
    await pass(internet.clock, 19_999); // 53.999 s, ESP at 34 s
    expect(keepalives(built)).toBe(0);
    await pass(internet.clock, 1);
    expect(keepalives(built)).toBe(1);
  });

  test('none without a NAT in front of us, and none once the IKE SA is gone', async () => {
    const open = await established(ikeSa(1, { natTheirs: true }));
    await pass(open.internet.clock, 60_000);
    expect(keepalives(open)).toBe(0);
    const gone = await established();
    gone.core.notice({ kind: 'ike-down', ikeSa: 1, connection: 'road', reason: 'deleted', error: undefined });
    gone.engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await pass(gone.internet.clock, 60_000);
    expect(keepalives(gone)).toBe(0);
  });

  test('follow an IKE rekey', async () => {
    const built = await established();
    built.core.sas = [ikeSa(2, { natOurs: true })];
    built.core.notice({ kind: 'ike-rekeyed', from: 1, to: 2, byUs: false });
    built.core.notice({ kind: 'ike-down', ikeSa: 1, connection: 'road', reason: 'rekeyed', error: undefined });
    built.engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await pass(built.internet.clock, 20_000);
    expect(keepalives(built)).toBe(1);
  });
});

describe('as initiator', () => {
  test('opens sockets on the address that leads to the peer, then begins', async () => {
    const { core, engine } = await world({}, false);
    core.onCommand = () => 42;
    expect(await engine.initiate('road', 'net')).toBe(42);
    const { ike, nat } = engine.sockets[0]!;
    expect([ike?.ip, nat.ip]).toEqual([US, US]);
    expect(core.commands).toEqual([{ kind: 'initiate', connection: 'road', child: 'net', local: ike, remote: { ip: PEER, port: 500 } }]);
  });

  test('begins on the encapsulating port where the peer has one port for both', async () => {
    const { core, engine } = await world({ connections: [connection('road', { remotePort: 4500 })] }, false);
    await engine.listen({ addresses: [US], ports: { ike: 4500, nat: 4500 } }); // as we do
    await engine.initiate('road');
    expect(core.commands).toMatchObject([{ local: { ip: US, port: 4500 }, remote: { ip: PEER, port: 4500 } }]);
    expect(engine.sockets).toEqual([{ ike: undefined, nat: { ip: US, port: 4500 } }]);
  });

  test('cannot begin without a marker where one port serves both', async () => {
    const { engine } = await world({}, false);
    await engine.listen({ addresses: [US], ports: { ike: undefined, nat: 4500 } });
    await expect(engine.initiate('road')).rejects.toMatchObject({ code: 'ONE_PORT', hint: expect.stringContaining('remote_nat_port') });
  });

  test('tells the core from where it dials, so that it can dial again by itself', async () => {
    const { core, engine, internet, us } = await world({}, false);
    await engine.initiate('road');
    expect(core.connections).toMatchObject([{ name: 'road', localAddresses: [US, '%any'] }]);
    us.removeAddress(US);
    us.addAddress('192.0.2.50');
    await pass(internet.clock, 3000);
    await settle(internet.clock);
    expect(core.connections).toMatchObject([{ name: 'road', localAddresses: ['192.0.2.50', '%any'] }]);
    expect(engine.sockets.map(({ nat }) => nat.ip)).toContain('192.0.2.50');
  });

  test('a trap does not begin twice what is beginning', async () => {
    const { core, engine, plane, internet } = await world();
    core.sas = [ikeSa(6, { state: 'connecting' })];
    core.notice({ kind: 'ike-state', ikeSa: 6, connection: 'road', from: 'connecting', to: 'authenticating' });
    engine.command({ kind: 'check-liveness', ikeSa: 6 });
    plane.options.onObservation({ kind: 'acquire', connection: 'road', child: 'net' });
    await settle(internet.clock);
    expect(core.commands.map(({ kind }) => kind)).toEqual(['check-liveness']);
  });

  test('a command for what does not exist is the caller’s mistake, not ours', async () => {
    const { core, engine, notices } = await world();
    core.onCommand = () => {
      throw new ApiMisuse('there is no IKE SA 9', { code: 'NO_SUCH_SA' });
    };
    expect(() => engine.command({ kind: 'delete-ike', ikeSa: 9 })).toThrow(ApiMisuse);
    expect(notices).toEqual([]);
  });

  test.each([
    ['nowhere', 'NO_SUCH_CONNECTION'],
    ['passive', 'NO_PEER_ADDRESS'],
    ['v6', 'NO_ROUTE'],
  ])('a connection that cannot begin says why (%s)', async (name, code) => {
    const connections = [connection('passive', { remoteAddresses: ['%any'] }), connection('v6', { remoteAddresses: ['2001:db8::1'] })];
    const { engine } = await world({ connections }, false);
    await expect(engine.initiate(name)).rejects.toMatchObject({ code, hint: expect.any(String) });
  });

  test('a packet that hits a trap begins an IKE SA, or a child where one stands', async () => {
    const ts = {
      type: 7,
      protocol: 0,
      startPort: 0,
      endPort: 65535,
      start: Uint8Array.of(10, 0, 0, 0),
      end: Uint8Array.of(10, 255, 255, 255),
    } as const;
    const child = {
      name: 'net',
      mode: 'tunnel',
      proposals: [],
      localTs: ['dynamic'],
      remoteTs: [ts],
      pfs: 'off',
      replayWindow: 64,
      startAction: 'trap',
      closeAction: 'none',
      dpdAction: 'clear',
      lifetimes: { rekey: 0, jitter: 0, hard: 0, rekeyBytes: 0, hardBytes: 0, rekeyPackets: 0, hardPackets: 0 },
    } as const;
    const { core, engine, plane, internet } = await world({ connections: [connection('road', { children: [child] })] });
    expect(plane.traps).toMatchObject([{ connection: 'road', child: 'net', remoteTs: [ts] }]);
    plane.options.onObservation({ kind: 'acquire', connection: 'road', child: 'net' });
    await settle(internet.clock);
    core.sas = [ikeSa(6)];
    core.notice({ kind: 'ike-up', ikeSa: 6, info: ikeSa(6) });
    engine.command({ kind: 'check-liveness', ikeSa: 6 });
    plane.options.onObservation({ kind: 'acquire', connection: 'road', child: 'net' });
    expect(core.commands).toMatchObject([
      { kind: 'initiate', connection: 'road', child: 'net' },
      { kind: 'check-liveness' },
      { kind: 'create-child', ikeSa: 6, child: 'net' },
    ]);
  });
});

describe('roaming', () => {
  test('a new address has sockets before the core hears of it', async () => {
    const { core, engine, internet, us } = await world();
    us.addAddress('192.0.2.50');
    await pass(internet.clock, 3000);
    await settle(internet.clock);
    expect(engine.sockets.map(({ nat }) => nat.ip)).toEqual([US, '192.0.2.50']);
    expect(core.observed).toEqual([
      { kind: 'local-addresses', addresses: [US, '192.0.2.50'], ports: { [US]: 4500, '192.0.2.50': 4500 }, sources: {} },
    ]);
  });

  test('an address that comes up while sockets are opened is not passed over', async () => {
    const { engine, internet, us } = await world({}, false);
    const listening = engine.listen({ addresses: ['%any'], ports: { ike: 500, nat: 4500 } });
    us.addAddress('192.0.2.50');
    await listening;
    await pass(internet.clock, 3000);
    await settle(internet.clock);
    expect(engine.sockets.map(({ nat }) => nat.ip)).toEqual([US, '192.0.2.50']);
  });

  test('a move that the machine tells of is known at once, and nothing is heard of it once the engine is closed', async () => {
    let change: (() => void) | undefined;
    const watch = async (onChange: () => void) => {
      change = onChange;
      return async () => {
        change = undefined;
      };
    };
    const internet = new Internet(1);
    const us = internet.host('us', { addresses: [US] });
    const machine = virtualPlatform(internet, us);
    const { core, engine } = await world({ platform: { ...machine, udp: { ...machine.udp, watch } } });
    await pass(internet.clock, 1000);
    us.addAddress('192.0.2.50');
    us.removeAddress(US);
    change?.();
    await pass(internet.clock, 1);
    expect(core.observed).toMatchObject([{ kind: 'local-addresses', addresses: ['192.0.2.50'] }]);
    await engine.close(0);
    expect(change).toBeUndefined();
  });

  test('what is listened on is told, and from where the machine would send to whom it dials', async () => {
    const { core, engine } = await world({}, false);
    await engine.initiate('road');
    expect(core.observed).toEqual([
      { kind: 'local-addresses', addresses: [US], ports: { [US]: expect.any(Number) }, sources: { [PEER]: US } },
    ]);
  });

  test('who dials may roam: every address of the machine has a socket, those that are lost are closed later', async () => {
    const made = await world({ connections: [connection('road', { mobike: true })] }, false);
    const { core, engine, internet, us } = made;
    us.addAddress('192.0.2.50');
    await engine.initiate('road');
    expect(engine.sockets.map(({ nat }) => nat.ip)).toEqual([US, '192.0.2.50']);
    us.removeAddress(US);
    await pass(internet.clock, 3000);
    expect(core.observed.at(-1)).toMatchObject({ addresses: ['192.0.2.50'], sources: { [PEER]: '192.0.2.50' } });
    expect(engine.sockets).toHaveLength(2);
    await pass(internet.clock, 5000);
    expect(engine.sockets.map(({ nat }) => nat.ip)).toEqual(['192.0.2.50']);
  });

  test('nothing is said while nothing changes', async () => {
    const { core, internet } = await world();
    await pass(internet.clock, 60_000);
    expect(core.observed).toEqual([]);
  });
});

describe('the end', () => {
  test('does not wait for what is gone and only repeats its last answer', async () => {
    const { core, engine } = await world();
    core.sas = [ikeSa(1, { state: 'lingering' })];
    await engine.close();
    expect(core.commands).toEqual([]);
  });

  test('says goodbye to every peer and waits for their answers', async () => {
    const { core, engine, plane, internet } = await world();
    core.sas = [ikeSa(1), ikeSa(2)];
    core.ask({ kind: 'install', spec: childSpec(1) });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    let closed = false;
    const closing = engine.close().then(() => (closed = true));
    await pass(internet.clock, 100);
    expect(core.commands.slice(1)).toEqual([
      { kind: 'delete-ike', ikeSa: 1 },
      { kind: 'delete-ike', ikeSa: 2 },
    ]);
    expect(closed).toBe(false);
    core.onReceive = () => {
      core.sas = [];
      core.notice({ kind: 'ike-down', ikeSa: 1, connection: 'road', reason: 'deleted', error: undefined });
    };
    core.onReceive({ local: addressOf(500), remote: peerAt(500), data: Uint8Array.of(1), encap: false });
    engine.command({ kind: 'check-liveness', ikeSa: 1 });
    await closing;
    expect(plane.children).toEqual([]);
    expect(engine.sockets).toEqual([]);
  });

  test('does not wait for ever', async () => {
    const { core, engine, internet } = await world();
    core.sas = [ikeSa(1)];
    const closing = engine.close(500);
    await pass(internet.clock, 500);
    await closing;
    expect(() => engine.command({ kind: 'check-liveness', ikeSa: 1 })).toThrow(/closed/);
  });

  test('nothing reaches the core afterwards', async () => {
    const { core, engine, internet, plane, send } = await world();
    core.deadline = 50;
    await engine.close();
    await send(500, 1);
    plane.options.onObservation({ kind: 'inbound-traffic', child: 1 });
    await pass(internet.clock, 1000);
    expect([core.received.length, core.observed.length, core.expiredAt.length]).toEqual([0, 0, 0]);
  });
});

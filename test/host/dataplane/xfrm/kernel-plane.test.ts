import { describe, expect, test } from 'vitest';
import type { ChildSaSpec, Observation } from '../../../../src/core/ike/effects.ts';
import { halved } from '../../../../src/host/dataplane/xfrm/child-states.ts';
import { KernelPlane, type KernelPlaneOptions } from '../../../../src/host/dataplane/xfrm/kernel-plane.ts';
import { VirtualClock } from '../../../../src/testing/virtual-clock.ts';
import { childPair, type PairChild } from '../../support/esp-pair.ts';
import { selector } from '../../support/packets.ts';
import { engineClock } from '../../support/virtual-platform.ts';
import { FakeKernel, refusal } from './fake-kernel.ts';

const NET = { localTs: ['10.1.0.0/24'], remoteTs: ['10.2.0.0/24'] };
const OUT = 'out 10.1.0.0/24 > 10.2.0.0/24';
const INWARD = ['in 10.2.0.0/24 > 10.1.0.0/24', 'fwd 10.2.0.0/24 > 10.1.0.0/24'];
const [LOCAL, REMOTE] = ['198.51.100.2', '203.0.113.7'];

function plane(kernel = new FakeKernel(), options: Partial<KernelPlaneOptions> = {}) {
  const clock = new VirtualClock();
  const observed: Observation[] = [];
  const onObservation = (observation: Observation): void => void observed.push(observation);
  const made = new KernelPlane({ kernel, clock: engineClock(clock), onObservation, ...options });
  kernel.log.length = 0;
  return { kernel, clock, observed, plane: made };
}

const child = (id: number, more: Partial<ChildSaSpec> = {}, pair: PairChild = {}): ChildSaSpec =>
  childPair({ ...NET, ...pair, id, more: { name: 'net', ...more } }).a;

const state = (kernel: FakeKernel, spi: number) => [...kernel.states.values()].find((one) => one.spi === spi)!;

describe('a CHILD_SA in the kernel', () => {
  test('stands with both SAs and a policy for each direction, and is gone without a trace but for the shunt', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    expect(kernel.spis()).toEqual(['a001', 'b001']);
    const [into, out] = [state(kernel, 0xa001), state(kernel, 0xb001)];
    expect([into.source, into.destination, into.replayWindow, into.esn]).toEqual([REMOTE, LOCAL, 64, true]);
    expect([out.source, out.destination, out.encap]).toEqual([LOCAL, REMOTE, { sourcePort: 4500, destinationPort: 4500 }]);
    expect(out.reqid).toBe(into.reqid);
    expect(kernel.shown().sort()).toEqual([OUT, ...INWARD].map((policy) => `${policy}: allow ${out.reqid}`).sort());
    expect([...kernel.policies.values()].find(({ direction }) => direction === 'out')?.templates?.[0]).toMatchObject({
      source: LOCAL,
      destination: REMOTE,
      mode: 'tunnel',
    });
    made.remove(1);
    expect(kernel.spis()).toEqual([]);
    expect(kernel.shown()).toEqual([`${OUT}: block`]);
    made.close();
    expect(kernel.shown()).toEqual([]);
  });

  test('the place is never empty between an SA and its shunt', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    kernel.log.length = 0;
    made.remove(1);
    expect(kernel.log.filter((line) => line.includes('out '))).toEqual([`=${OUT} block`]);
  });

  test('who was lent an address leaves nothing behind', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { assigned: ['10.2.0.9'] }, { localTs: ['0.0.0.0/0'], remoteTs: ['10.2.0.9/32'] }));
    made.remove(1);
    expect(kernel.shown()).toEqual([]);
  });

  test('in transport mode needs no ends in its templates, and nothing is passed on', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { mode: 'transport' }, { localTs: [`${LOCAL}/32`], remoteTs: [`${REMOTE}/32`] }));
    expect([...kernel.policies.values()].map(({ direction }) => direction).sort()).toEqual(['in', 'out']);
    for (const { templates } of kernel.policies.values()) expect(templates?.[0]).not.toHaveProperty('destination');
  });

  test('that cannot be made leaves nothing behind', () => {
    for (const call of ['addState', 'addPolicy']) {
      const { kernel, plane: made } = plane();
      kernel.failAt = { call, error: refusal('KERNEL_REFUSED') };
      expect(() => made.install(child(1))).toThrow('KERNEL_REFUSED');
      expect([kernel.spis(), kernel.shown()]).toEqual([[], []]);
    }
  });

  test('leaves a policy of another program alone', () => {
    const { kernel, plane: made } = plane();
    const theirs = { direction: 'out', action: 'allow', priority: 5, selector: selectorOut() } as const;
    kernel.policies.set(OUT, theirs);
    expect(() => made.install(child(1))).toThrow('KERNEL_ENTRY_EXISTS');
    expect([...kernel.policies.values()]).toEqual([theirs]);
    expect(kernel.spis()).toEqual([]);
  });

  test('is not carried in TCP, and AH not in UDP', () => {
    const { plane: made } = plane();
    expect(() => made.install(child(1, { transport: 'tcp' }))).toThrow(expect.objectContaining({ code: 'TRANSPORT_UNSUPPORTED' }));
    expect(() => made.install(child(1, { protocol: 'AH' }))).toThrow(expect.objectContaining({ code: 'AH_UNSUPPORTED' }));
    made.install(child(1, { encap: false }));
    expect(() => made.install(child(1))).toThrow(expect.objectContaining({ code: 'SPI_IN_USE' }));
  });

  test('has its keys overwritten afterwards, not those of whoever gave them', () => {
    const { kernel, plane: made } = plane();
    const spec = child(1);
    const given: Uint8Array[] = [];
    const add = kernel.addState.bind(kernel);
    kernel.addState = (one) => {
      given.push(one.keys!.encryptionKey!);
      add(one);
    };
    made.install(spec);
    made.remove(1);
    expect(given).toHaveLength(2);
    for (const key of given) expect(key.every((octet) => octet === 0)).toBe(true);
    expect(spec.inbound.encryptionKey.every((octet) => octet !== 0)).toBe(true);
  });
});

describe('a rekeying', () => {
  test('does not touch a policy, and sends on the new SA when it is told to', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    kernel.log.length = 0;
    made.install(child(2, { replaces: 1, outboundActive: false }));
    expect(kernel.spis()).toEqual(['a001', 'a002', 'b001']);
    made.update(2, { kind: 'activate-outbound' });
    expect(kernel.spis()).toEqual(['a001', 'a002', 'b001', 'b002']);
    made.remove(1);
    expect(kernel.spis()).toEqual(['a002', 'b002']);
    expect(kernel.log.filter((line) => line.includes('/24'))).toEqual([]);
    expect(state(kernel, 0xa002).reqid).toBe([...kernel.policies.values()][0]?.templates?.[0]?.reqid);
  });

  test('of which the peer has closed its half receives on the other one, and nothing leaves', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    made.update(1, { kind: 'stop-outbound' });
    expect(kernel.spis()).toEqual(['a001']);
    expect([...kernel.policies.values()].filter(({ direction, action }) => direction === 'out' && action !== 'block')).toEqual([]);
    expect(made.counters(1)).toMatchObject({ outbound: { packets: 0 } });
    made.update(1, { kind: 'stop-outbound' });
    made.remove(1);
    expect(kernel.spis()).toEqual([]);
  });

  test('whose successor was not told to send does so when the first goes', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    made.install(child(2, { replaces: 1, outboundActive: false }));
    made.remove(1);
    expect(kernel.spis()).toEqual(['a002', 'b002']);
  });

  test('whose successor never sent, since another SA stood in for it that has been replaced in its turn, leaves it so when the first goes', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    made.install(child(2, { replaces: 1, outboundActive: false }));
    for (const id of [3, 4]) made.install(child(id, { replaces: id - 1 }));
    made.remove(1);
    expect(kernel.spis()).toEqual(['a002', 'a003', 'a004', 'b003', 'b004']);
    made.remove(3);
    made.remove(2);
    expect(kernel.spis()).toEqual(['a004', 'b004']);
  });

  test('whose successor was not told to send does not when the first goes while another SA for the same packets was told later', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    made.install(child(2, { replaces: 1, outboundActive: false }));
    made.install(child(3));
    made.remove(1);
    expect(kernel.spis()).toEqual(['a002', 'a003', 'b003']);
  });

  test('to fewer packets leaves the line its reqid', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    made.install(child(2, { replaces: 1 }, { remoteTs: ['10.2.0.0/25'] }));
    expect(state(kernel, 0xa002).reqid).toBe(state(kernel, 0xa001).reqid);
  });

  test('other peers of one connection have other reqids', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, {}, { remoteTs: ['10.2.0.1/32'] }));
    made.install(child(2, {}, { remoteTs: ['10.2.0.2/32'] }));
    expect(state(kernel, 0xa002).reqid).not.toBe(state(kernel, 0xa001).reqid);
  });
});

describe('other addresses', () => {
  const elsewhere = {
    kind: 'addresses',
    local: { ip: LOCAL, port: 4500 },
    remote: { ip: '203.0.113.99', port: 4501 },
    encap: true,
  } as const;

  test('take the SAs along with their numbers, and the policies after them', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    kernel.pass(0xb001, 7n);
    kernel.pass(0xa001, 5n);
    made.update(1, elsewhere);
    const [into, out] = [state(kernel, 0xa001), state(kernel, 0xb001)];
    expect([into.source, into.encap?.sourcePort, into.sequence?.inbound]).toEqual(['203.0.113.99', 4501, 5n]);
    // what the kernel sent while it was asked is passed over
    expect([out.destination, out.sequence?.outbound]).toEqual(['203.0.113.99', 7n + (1n << 20n)]);
    expect(kernel.states.size).toBe(2);
    for (const { direction, templates } of kernel.policies.values())
      expect(templates?.[0]?.destination).toBe(direction === 'out' ? '203.0.113.99' : LOCAL);
    kernel.pass(0xb001, 2n);
    expect(made.counters(1)).toMatchObject({ outbound: { packets: 9, bytes: 900 }, inbound: { packets: 5 } });
  });

  test('of the same hosts change the ports alone', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    kernel.pass(0xb001, 7n);
    kernel.log.length = 0;
    made.update(1, { ...elsewhere, remote: { ip: REMOTE, port: 4999 } });
    expect(kernel.log).toEqual([`=a001 ${REMOTE}>${LOCAL}`, `=b001 ${LOCAL}>${REMOTE}`]);
    expect(state(kernel, 0xb001).encap?.destinationPort).toBe(4999);
    expect(made.counters(1)?.outbound.packets).toBe(7);
  });

  test('that the kernel refuses end the CHILD_SA', () => {
    const { kernel, clock, observed, plane: made } = plane();
    made.install(child(1));
    kernel.failAt = { call: 'addState', error: refusal('KERNEL_REFUSED') };
    made.update(1, elsewhere);
    clock.run(1);
    expect(observed).toEqual([{ kind: 'hard-expire', child: 1 }]);
  });
});

describe('what the kernel tells', () => {
  const expired = (kernel: FakeKernel, spi: number, hard: boolean) =>
    ({ kind: 'expire', hard, state: kernel.getState(state(kernel, spi)) }) as const;

  test('a limit of either direction, once', () => {
    const { kernel, observed, plane: made } = plane();
    made.install(child(1));
    made.onEvent(expired(kernel, 0xb001, false));
    made.onEvent(expired(kernel, 0xa001, false));
    made.onEvent(expired(kernel, 0xa001, true));
    made.onEvent(expired(kernel, 0xb001, true));
    expect(observed).toEqual([
      { kind: 'soft-expire', child: 1 },
      { kind: 'hard-expire', child: 1 },
    ]);
  });

  test('another mapping of the peer', () => {
    const { kernel, observed, plane: made } = plane();
    made.install(child(1));
    const { destination, spi, protocol, reqid } = state(kernel, 0xa001);
    const mapping = { oldSource: REMOTE, oldPort: 4500, newSource: '203.0.113.8', newPort: 77 };
    made.onEvent({ kind: 'mapping', id: { destination, spi, protocol }, reqid, ...mapping });
    expect(observed).toEqual([{ kind: 'mapping-changed', child: 1, remote: { ip: '203.0.113.8', port: 77 } }]);
  });

  test('a packet that asks for an SA, by the trap that it met', () => {
    const { kernel, observed, plane: made } = plane();
    made.setTraps([{ connection: 'road', child: 'net', localTs: NET.localTs.map(selector), remoteTs: NET.remoteTs.map(selector) }]);
    const [policy] = kernel.listPolicies();
    expect(kernel.shown()).toEqual([expect.stringMatching(`^${OUT}: allow \\d+$`)]);
    const packet = { family: 4, source: '10.1.0.5/32', destination: '10.2.0.7/32', protocol: 6 } as const;
    const acquire = { kind: 'acquire', source: LOCAL, destination: '10.2.0.7', protocol: 'esp', sequence: 1 } as const;
    made.onEvent({ ...acquire, policy: policy!, selector: { ...packet, destinationPort: { port: 443 } } });
    expect(observed).toMatchObject([
      {
        kind: 'acquire',
        connection: 'road',
        child: 'net',
        packet: {
          local: { protocol: 6, startPort: 0, endPort: 65_535 },
          remote: { protocol: 6, startPort: 443, endPort: 443, start: new Uint8Array([10, 2, 0, 7]) },
        },
      },
    ]);
    // the CHILD_SA takes the trap's place and gives it back
    made.install(child(1));
    expect(kernel.shown()).toContain(`${OUT}: allow ${state(kernel, 0xb001).reqid}`);
    made.remove(1);
    expect(kernel.policies.get(OUT)?.templates?.[0]?.mode).toBe('transport');
    made.setTraps([]);
    expect(kernel.shown()).toEqual([`${OUT}: block`]);
  });

  test('traffic, as it looks now and then; and an SA that others deleted', () => {
    const { kernel, clock, observed, plane: made } = plane();
    made.install(child(1));
    clock.run(3000);
    expect(observed).toEqual([]);
    kernel.pass(0xa001, 3n);
    clock.run(6000);
    expect(observed).toEqual([{ kind: 'inbound-traffic', child: 1 }]);
    expect(made.counters(1)).toMatchObject({
      inbound: { packets: 3, bytes: 300, lastUse: 4000 },
      outbound: { packets: 0, lastUse: undefined },
    });
    kernel.states.delete(`esp ${0xb001} ${REMOTE}`);
    clock.run(9000);
    expect(observed.slice(1)).toEqual([{ kind: 'hard-expire', child: 1 }]);
    made.close();
  });
});

describe('policies that another program removes', () => {
  function watched() {
    const failures: string[] = [];
    const made = plane(undefined, { onFailure: ({ code }) => void failures.push(code) });
    made.plane.install(child(1));
    return { ...made, failures };
  }

  test('stand again at once, and it is said', () => {
    const { kernel, failures, plane: made } = watched();
    const before = kernel.shown();
    const [removed] = kernel.listPolicies();
    kernel.policies.clear();
    made.onEvent({ kind: 'policies-flushed' });
    expect(kernel.shown().sort()).toEqual(before.sort());
    kernel.deletePolicy(removed!);
    made.onEvent({ kind: 'policy', change: 'deleted', policy: removed! });
    expect(kernel.shown().sort()).toEqual(before.sort());
    kernel.deletePolicy(removed!);
    made.onLost();
    expect(kernel.shown().sort()).toEqual(before.sort());
    expect(failures).toEqual(['POLICIES_REMOVED', 'POLICIES_REMOVED', 'POLICIES_REMOVED']);
  });

  test('are none of ours that we removed ourselves, nor those of others', () => {
    const { kernel, failures, plane: made } = watched();
    const own = kernel.listPolicies();
    made.remove(1);
    const before = kernel.shown();
    for (const policy of own.filter(({ direction }) => direction !== 'out')) made.onEvent({ kind: 'policy', change: 'deleted', policy });
    made.onEvent({
      kind: 'policy',
      change: 'deleted',
      policy: { ...own[0]!, selector: { family: 4, source: '10.8.0.0/16', destination: '10.9.0.0/16' } },
    });
    expect([kernel.shown(), failures]).toEqual([before, []]);
    // the event of a removal comes when there is one again
    made.install(child(2));
    for (const policy of own) made.onEvent({ kind: 'policy', change: 'deleted', policy });
    expect(failures).toEqual([]);
  });
});

describe('sequence numbers', () => {
  test('are those of the kernel, and go on far ahead after a restart', () => {
    const { kernel, plane: made } = plane();
    const stood = { outbound: { sequenceHigh: 1, sequenceLow: 5 }, inbound: { sequenceHigh: 0, sequenceLow: 9 } };
    made.install(child(1, { resumed: true }), stood);
    expect(state(kernel, 0xb001).sequence?.outbound).toBe((1n << 32n) + 5n + (1n << 30n));
    expect(state(kernel, 0xa001).sequence?.inbound).toBe(9n);
    kernel.pass(0xa001, 2n);
    expect(made.sequenceNumbers(1)).toEqual({
      outbound: { sequenceHigh: 1, sequenceLow: 5 + 2 ** 30 },
      inbound: { sequenceHigh: 0, sequenceLow: 11 },
    });
  });

  test('skip: what is sent goes on later, and what comes in from where a former life stopped (RFC 6311 §5.2)', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { resumed: true }), { outbound: halved(5n), inbound: halved(9n) });
    kernel.pass(0xa001, 2n);
    const outbound = state(kernel, 0xb001).sequence!.outbound;
    made.update(1, { kind: 'skip', direction: 'outbound', by: 1n << 28n });
    made.update(1, { kind: 'skip', direction: 'inbound', by: 1000n });
    expect(state(kernel, 0xb001).sequence!.outbound).toBeGreaterThanOrEqual(outbound + (1n << 28n));
    expect(state(kernel, 0xa001).sequence!.inbound).toBe(1009n);
    kernel.pass(0xa001, 5n);
    made.update(1, { kind: 'skip', direction: 'inbound', by: 1001n });
    expect(state(kernel, 0xa001).sequence!.inbound).toBe(1014n);
    expect(kernel.spis().sort()).toEqual(['a001', 'b001']);
  });

  test('end at 2^32 without ESN, and a successor is wanted before', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { esn: false, limits: { softBytes: 0, hardBytes: 0, softPackets: 100, hardPackets: 0 } }));
    expect(state(kernel, 0xb001).lifetime).toMatchObject({ softPackets: 100n, hardPackets: 0xffff_ffffn });
    made.install(child(2, { esn: false }));
    expect(state(kernel, 0xb002).lifetime?.softPackets).toBe(0xffff_ffffn - (1n << 20n));
  });
});

describe('what a former life left behind', () => {
  const others = {
    direction: 'out',
    action: 'block',
    priority: 5,
    selector: { family: 4, source: '10.9.0.0/24', destination: '10.8.0.0/24' },
  } as const;

  function crashed(): FakeKernel {
    const kernel = new FakeKernel();
    plane(kernel).plane.install(child(1));
    kernel.addPolicy(others, false);
    kernel.addState({ ...state(kernel, 0xa001), spi: 0x77, reqid: 16 });
    return kernel;
  }

  test('goes, the SAs at once and the policies in the end, and nothing of others', () => {
    const kernel = crashed();
    const { plane: made } = plane(kernel);
    expect(kernel.spis()).toEqual(['77']);
    // until then they hold packets back, for want of an SA
    expect(kernel.policies.size).toBe(4);
    made.sweep();
    expect([...kernel.policies.values()]).toEqual([others]);
  });

  test('is taken over in its place, without a moment in which there is nothing', () => {
    const kernel = crashed();
    const { plane: made } = plane(kernel);
    made.install(child(2));
    expect(kernel.log.filter((line) => line.includes(OUT))).toEqual([`=${OUT} allow`]);
    made.sweep();
    expect(kernel.policies.size).toBe(4);
    expect(kernel.spis()).toEqual(['77', 'a002', 'b002']);
    made.close();
    expect([...kernel.policies.values()]).toEqual([others]);
  });

  test('of another plane of this machine is left alone while that lives', () => {
    const kernel = new FakeKernel();
    const nobody = (): ReadonlySet<number> => new Set();
    const { plane: first } = plane(kernel, { share: { number: 0, abandoned: nobody } });
    first.install(child(1));
    const { plane: second } = plane(kernel, { share: { number: 1, abandoned: nobody } });
    second.sweep();
    expect([kernel.spis(), kernel.policies.size]).toEqual([['a001', 'b001'], 3]);
    expect(() => second.install(child(2))).toThrow('KERNEL_ENTRY_EXISTS');
    second.install(child(3, {}, { localTs: ['10.3.0.0/24'], remoteTs: ['10.4.0.0/24'] }));
    expect(state(kernel, 0xa003).reqid).not.toBe(state(kernel, 0xa001).reqid);
    first.close();
    expect([kernel.spis(), kernel.policies.size]).toEqual([['a003', 'b003'], 3]);
    // it ends without a word, and the first to come sweeps for it
    const { plane: third } = plane(kernel, { share: { number: 0, abandoned: () => new Set([1]) } });
    third.sweep();
    expect([kernel.spis(), kernel.policies.size]).toEqual([[], 0]);
  });
});

describe('compression', () => {
  const ipcomp = { inboundCpi: 0x4001, outboundCpi: 0x5001 };

  test('is an SA of its own that makes the tunnel, inside of ESP; what comes in may come without', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { ipcomp }));
    expect([...kernel.states.values()].map(({ protocol, mode, spi }) => `${protocol} ${mode} ${spi.toString(16)}`).sort()).toEqual([
      'comp tunnel 4001',
      'comp tunnel 5001',
      'esp transport a001',
      'esp transport b001',
    ]);
    for (const { direction, templates } of kernel.policies.values())
      expect(templates).toEqual([
        expect.objectContaining({ protocol: 'comp', mode: 'tunnel', destination: direction === 'out' ? REMOTE : LOCAL }),
        expect.objectContaining({ protocol: 'esp', mode: 'transport' }),
      ]);
    for (const { direction, templates } of kernel.policies.values()) expect(templates?.[0]?.optional ?? false).toBe(direction !== 'out');
    made.remove(1);
    expect(kernel.states.size).toBe(0);
  });

  test('goes along to other addresses, and with the SAs that replace them', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { ipcomp }));
    made.update(1, { kind: 'addresses', local: { ip: LOCAL, port: 4500 }, remote: { ip: '203.0.113.99', port: 4500 }, encap: true });
    const ends = () => [...kernel.states.values()].map(({ source, destination }) => [source, destination].find((ip) => ip !== LOCAL));
    expect(ends()).toEqual(Array(4).fill('203.0.113.99'));
    made.install(child(2, { ipcomp: { inboundCpi: 0x4002, outboundCpi: 0x5002 }, replaces: 1 }));
    made.remove(1);
    expect(kernel.spis()).toEqual(['4002', '5002', 'a002', 'b002']);
  });

  test('is refused in a tunnel for packets of another family than its ends have', () => {
    const { kernel, plane: made } = plane();
    const v6 = { localTs: [selector('fd01::/64')], remoteTs: [selector('fd02::/64')] };
    expect(() => made.install(child(1, { ipcomp, ...v6 }))).toThrow(expect.objectContaining({ code: 'IPCOMP_UNSUPPORTED' }));
    expect([kernel.spis(), kernel.shown()]).toEqual([[], []]);
    made.install(child(2, v6));
  });

  test('that the kernel has not leaves nothing behind', () => {
    const { kernel, plane: made } = plane();
    const add = kernel.addState.bind(kernel);
    kernel.addState = (one) => {
      if (one.protocol === 'esp') throw refusal('KERNEL_REFUSED');
      add(one);
    };
    expect(() => made.install(child(1, { ipcomp }))).toThrow('KERNEL_REFUSED');
    expect([kernel.spis(), kernel.shown()]).toEqual([[], []]);
  });
});

test.each([
  [{ tfc: 1300 }, {}, 1300],
  [{ tfc: 'mtu' }, {}, 0xffff],
  [{ tfc: 1300 }, { unpadded: true }, undefined],
  [{ tfc: 1300 }, { mode: 'transport' }, undefined],
  [{}, {}, undefined],
] as const)('padding of %j, with %j', (packets, more, octets) => {
  const { kernel, plane: made } = plane();
  made.install(child(1, { packets, ...more }));
  expect([state(kernel, 0xa001).tfcPad, state(kernel, 0xb001).tfcPad]).toEqual([undefined, octets]);
  expect(() => made.install(child(2, { packets: { dummies: 3 } }))).toThrow(expect.objectContaining({ code: 'DUMMIES_UNSUPPORTED' }));
});

test.each([
  [{}, {}, {}],
  [{ copyDscp: 'no', copyEcn: false }, { noEcn: true }, { noEcn: true, dontEncapDscp: true }],
  [{ copyDscp: 'in', df: 'clear' }, { decapDscp: true }, { dontEncapDscp: true, noPmtuDisc: true }],
  [{ copyDscp: 'yes', df: 'copy' }, { decapDscp: true }, {}],
] as const)('outer headers by %j', (packets, inbound, outbound) => {
  const { kernel, plane: made } = plane();
  made.install(child(1, { packets }));
  expect([state(kernel, 0xa001).flags, state(kernel, 0xb001).flags]).toEqual([inbound, outbound]);
});

describe('what stands before the first SA', () => {
  const dropped = {
    action: 'drop',
    connection: 'road',
    child: 'net',
    localTs: NET.localTs.map(selector),
    remoteTs: NET.remoteTs.map(selector),
  } as const;

  test('drops either way, gives its place to the SA and takes it back', () => {
    const { kernel, observed, plane: made } = plane();
    made.setTraps([dropped]);
    const blocked = [OUT, ...INWARD].map((policy) => `${policy}: block`).sort();
    expect(kernel.shown().sort()).toEqual(blocked);
    kernel.log.length = 0;
    made.install(child(1));
    expect(kernel.shown().every((line) => line.includes(': allow '))).toBe(true);
    made.remove(1);
    expect(kernel.shown().sort()).toEqual(blocked);
    expect(kernel.log.filter((line) => /^[+-](in|out|fwd) /.test(line))).toEqual([]);
    expect(observed).toEqual([]);
    made.setTraps([]);
    expect(kernel.shown()).toEqual([`${OUT}: block`]);
  });

  test('stays as it was where another program has one of the places', () => {
    const { kernel, plane: made } = plane();
    made.setTraps([dropped]);
    const theirs = {
      direction: 'out',
      action: 'allow',
      priority: 5,
      selector: { family: 4, source: '10.1.0.0/24', destination: '10.3.0.0/24' },
    } as const;
    kernel.addPolicy(theirs, false);
    const before = kernel.shown();
    expect(() => made.setTraps([{ ...dropped, action: 'drop', remoteTs: [selector('10.4.0.0/24'), selector('10.3.0.0/24')] }])).toThrow(
      'KERNEL_ENTRY_EXISTS',
    );
    expect(kernel.shown()).toEqual(before);
    made.close();
    expect([...kernel.policies.values()]).toEqual([theirs]);
  });

  test('stays the same when the configuration does', () => {
    const { kernel, plane: made } = plane();
    made.setTraps([dropped]);
    kernel.log.length = 0;
    made.setTraps([dropped]);
    expect(kernel.log).toEqual([]);
  });
});

describe('shunts of the configuration', () => {
  const shunts = [
    { action: 'bypass', connection: 'road', child: 'lan', localTs: [selector('0.0.0.0/0')], remoteTs: [selector('10.0.0.0/8')] },
    { action: 'discard', connection: 'road', child: 'no', localTs: [selector('10.1.0.0/24')], remoteTs: [selector('10.2.0.0/24')] },
  ] as const;

  test('go before every SA, among themselves the narrower first, and no SA takes their place', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    made.setShunts(shunts);
    made.install(child(2, {}, { remoteTs: ['10.2.0.7/32'] }));
    const outward = [...kernel.policies.values()].filter(({ direction }) => direction === 'out').sort((a, b) => a.priority - b.priority);
    expect(outward.map(({ action, selector: { destination }, templates = [] }) => `${action} ${destination} ${templates.length}`)).toEqual([
      'block 10.2.0.0/24 0',
      'allow 10.0.0.0/8 0',
      'allow 10.2.0.7/32 1',
    ]);
    made.setShunts([]);
    expect(kernel.shown().find((line) => line.startsWith(OUT))).toMatch(/: allow \d+$/);
  });

  test('are told from those of others by a later life', () => {
    const { kernel, plane: made } = plane();
    made.setShunts(shunts);
    const later = plane(kernel);
    later.plane.sweep();
    expect(kernel.shown()).toEqual([]);
  });
});

describe('marks, interfaces and the card', () => {
  const kernelPolicy = {
    ifIdIn: 42,
    ifIdOut: 43,
    markIn: { value: 1, mask: 255 },
    markInSa: true,
    markOut: { value: 2 },
    setMarkOut: { value: 9 },
  };

  test('stand in SAs and policies, the shunt behind them among these', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1, { packets: { kernel: kernelPolicy } }));
    const tags = ({ ifId, mark }: { readonly ifId?: number | undefined; readonly mark?: unknown }) => [ifId, mark];
    expect(tags(state(kernel, 0xa001))).toEqual([42, { value: 1, mask: 255 }]);
    expect([...tags(state(kernel, 0xb001)), state(kernel, 0xb001).setMark]).toEqual([43, undefined, { value: 9 }]);
    const policies = (direction: string) => [...kernel.policies.values()].filter((policy) => policy.direction === direction);
    expect(policies('out').map(tags)).toEqual([[43, { value: 2 }]]);
    expect([...policies('in'), ...policies('fwd')].map(tags)).toEqual([1, 2].map(() => [42, { value: 1, mask: 255 }]));
    made.remove(1);
    expect(policies('out').map((policy) => [policy.action, ...tags(policy)])).toEqual([['block', 43, { value: 2 }]]);
  });
});

describe('a network card', () => {
  const asking = (offload: 'auto' | 'crypto' | 'packet', id = 1, more: Partial<ChildSaSpec> = {}) =>
    child(id, { packets: { kernel: { offload } }, ...more });

  test.each([
    ['crypto', 'policies', [false, false], []],
    ['packet', 'policies', [true, true], ['in', 'out']],
    ['auto', 'policies', [true, true], ['in', 'out']],
    ['auto', 'packets', [false, false], []],
    ['auto', 'ciphers', [false, false], []],
    ['auto', 'no', [undefined, undefined], []],
  ] as const)('asked for %s, where it can do %s', (offload, card, states, policies) => {
    const { kernel, plane: made } = plane(withCard(card));
    made.install(asking(offload));
    expect([whole(kernel, 0xa001), whole(kernel, 0xb001)]).toEqual(states);
    expect(policiesOf(kernel)).toEqual(policies);
    expect([state(kernel, 0xa001).offload?.inbound ?? true, state(kernel, 0xb001).offload?.inbound ?? false]).toEqual([true, false]);
    made.remove(1);
    expect([kernel.spis(), policiesOf(kernel)]).toEqual([[], []]);
  });

  test.each([
    ['crypto', 'no'],
    ['packet', 'packets'],
    ['packet', 'ciphers'],
    ['packet', 'no'],
  ] as const)('that is to do %s and can do %s: there is no SA without it, and no policy', (offload, card) => {
    const { kernel, plane: made } = plane(withCard(card));
    expect(() => made.install(asking(offload))).toThrow(expect.objectContaining({ code: 'OFFLOAD_UNSUPPORTED' }));
    expect([kernel.spis(), kernel.shown()]).toEqual([[], []]);
  });

  test('what is not for the card is not said to be', () => {
    const { kernel, plane: made } = plane(withCard('policies'));
    made.install(child(1));
    expect([whole(kernel, 0xa001), whole(kernel, 0xb001), policiesOf(kernel)]).toEqual([undefined, undefined, []]);
  });

  test('that is none: an address that no interface has', () => {
    const { kernel, plane: made } = plane();
    for (const offload of ['crypto', 'packet'] as const)
      expect(() => made.install(asking(offload))).toThrow(/no interface has the address/);
    made.install(asking('auto'));
    expect([whole(kernel, 0xa001), policiesOf(kernel)]).toEqual([undefined, []]);
  });

  test('has policies only for SAs that it takes whole, and a rekeying leaves them as they are', () => {
    const { kernel, plane: made } = plane(withCard('policies'));
    made.install(asking('packet'));
    kernel.log.length = 0;
    made.install(asking('packet', 2, { replaces: 1, outboundActive: false }));
    made.update(2, { kind: 'activate-outbound' });
    made.remove(1);
    expect(kernel.log.filter((line) => / (allow|block)$/.test(line))).toEqual([]);
    expect([whole(kernel, 0xb002), policiesOf(kernel)]).toEqual([true, ['in', 'out']]);
  });

  test('that is left in a move: SAs and policies go to that of the other interface, or to none', () => {
    const { kernel, plane: made } = plane(withCard('policies'));
    made.install(asking('auto', 1, { encap: false }));
    const move = (ip: string): void =>
      made.update(1, { kind: 'addresses', local: { ip, port: 500 }, remote: { ip: REMOTE, port: 500 }, encap: false });
    kernel.link = 6;
    move('198.51.100.3');
    expect(links(kernel)).toEqual([6, 6, 6, 6]);
    kernel.card = 'packets';
    move('198.51.100.4');
    expect([links(kernel), policiesOf(kernel)]).toEqual([[6, 6], []]);
    kernel.link = undefined;
    move('198.51.100.5');
    expect(links(kernel)).toEqual([]);
  });

  test('is not given whole packets that the kernel compresses', () => {
    const { kernel, plane: made } = plane(withCard('policies'));
    const ipcomp = { inboundCpi: 0x100, outboundCpi: 0x200 };
    expect(() => made.install(asking('packet', 1, { ipcomp }))).toThrow(expect.objectContaining({ code: 'OFFLOAD_UNSUPPORTED' }));
    made.install(asking('auto', 1, { ipcomp }));
    expect([whole(kernel, 0xa001), whole(kernel, 0xb001), policiesOf(kernel)]).toEqual([false, false, []]);
  });

  test('that gives an SA back: no number of a packet that it may have sent is sent again', () => {
    const kernel = withCard('packets');
    const addPolicy = kernel.addPolicy.bind(kernel);
    kernel.addPolicy = (policy, replace) => {
      if (policy.offload !== undefined) kernel.pass(policy.direction === 'out' ? 0xb001 : 0xa001, 7n);
      addPolicy(policy, replace);
    };
    const { plane: made } = plane(kernel);
    made.install(asking('auto'));
    expect(state(kernel, 0xa001).sequence).toEqual({ inbound: 7n, outbound: 0n });
    expect(state(kernel, 0xb001).sequence!.outbound).toBeGreaterThan(7n);
  });

  const withCard = (card: FakeKernel['card']): FakeKernel => Object.assign(new FakeKernel(), { card, link: 5 });
  const whole = (kernel: FakeKernel, spi: number): boolean | undefined => state(kernel, spi).offload?.packet;
  const policiesOf = (kernel: FakeKernel): string[] =>
    [...kernel.policies.values()].flatMap(({ direction, offload }) => (offload === undefined ? [] : [direction])).sort();
  const links = (kernel: FakeKernel): number[] => [
    ...[...kernel.states.values()].flatMap(({ offload }) => offload?.link ?? []),
    ...[...kernel.policies.values()].flatMap(({ offload }) => offload ?? []),
  ];
});

describe('what passes in clear', () => {
  const everything = { localTs: ['0.0.0.0/0'], remoteTs: ['0.0.0.0/0'] };

  test('is for the networks that this machine is on, beside a tunnel that takes everything', () => {
    let networks = ['192.168.7.0/24'];
    const { kernel, clock, plane: made } = plane(undefined, { neighbours: () => networks });
    made.install(child(1));
    expect(kernel.shown().filter((line) => line.includes('192.168'))).toEqual([]);
    made.install(child(2, {}, everything));
    const passing = () =>
      kernel
        .shown()
        .filter((line) => line.includes('192.168'))
        .sort();
    const pass = (network: string) => [
      `fwd ${network} > 0.0.0.0/0: allow`,
      `in ${network} > 0.0.0.0/0: allow`,
      `out 0.0.0.0/0 > ${network}: allow`,
    ];
    expect(passing()).toEqual(pass('192.168.7.0/24'));
    const priority = (name: string) => kernel.policies.get(name)!.priority;
    expect(priority('out 0.0.0.0/0 > 192.168.7.0/24')).toBeLessThan(priority('out 0.0.0.0/0 > 0.0.0.0/0'));
    expect(priority('out 0.0.0.0/0 > 192.168.7.0/24')).toBeGreaterThan(priority(OUT));
    networks = ['192.168.8.0/24'];
    clock.run(3000);
    expect(passing()).toEqual(pass('192.168.8.0/24'));
    made.close();
    expect(kernel.shown()).toEqual([]);
  });

  test('is neighbour discovery, once there is a policy of IPv6', () => {
    const { kernel, plane: made } = plane();
    made.install(child(1));
    expect(kernel.shown().filter((line) => line.includes('proto 58'))).toEqual([]);
    made.install(child(2, {}, { localTs: ['2001:db8::1/128'], remoteTs: ['2001:db8::2/128'] }));
    const passing = [...kernel.policies.values()].filter(({ selector: { protocol } }) => protocol === 58);
    expect(passing.map(({ direction, selector: { sourcePort } }) => `${direction} ${sourcePort?.port}`).sort()).toEqual(
      [133, 134, 135, 136, 137].flatMap((type) => [`in ${type}`, `out ${type}`]).sort(),
    );
    for (const { templates, priority } of passing)
      expect([templates, priority]).toEqual([[], Math.min(...[...kernel.policies.values()].map((one) => one.priority))]);
  });
});

test('AH over IPv4 is a multiple of 32 bits', () => {
  const { kernel, plane: made } = plane();
  made.install(child(1, { protocol: 'AH', encap: false }));
  for (const one of kernel.states.values()) expect(one.flags).toEqual({ align4: true });
});

const selectorOut = () => ({ family: 4, source: '10.1.0.0/24', destination: '10.2.0.0/24', protocol: 0 }) as const;

import { describe, expect, test } from 'vitest';
import { toHex } from '../../../src/core/bytes/index.ts';
import { connection, End, established, settle } from './two-ends.ts';

const keys = (end: End) =>
  [...end.children.values()].map((c) => ({
    in: `${c.inbound.spi} ${toHex(c.inbound.encryptionKey)}`,
    out: `${c.outbound.spi} ${toHex(c.outbound.encryptionKey)}`,
  }));

function expectMatchingChildren(left: End, right: End, count: number): void {
  expect(left.children.size).toBe(count);
  expect(right.children.size).toBe(count);
  expect(
    keys(left)
      .map((k) => `${k.in}|${k.out}`)
      .sort(),
  ).toEqual(
    keys(right)
      .map((k) => `${k.out}|${k.in}`)
      .sort(),
  );
}

describe('an IKE SA between two ends', () => {
  test('IKE_SA_INIT and IKE_AUTH with a PSK make one IKE SA and one CHILD_SA with equal keys', () => {
    const { left, right } = established();
    expect(left.has('ike-down')).toEqual([]);
    expect(left.endpoint.info()[0]).toMatchObject({ state: 'established', role: 'initiator', suite: 'aes128gcm16/prfsha256/x25519' });
    expect(right.endpoint.info()[0]).toMatchObject({ state: 'established', role: 'responder' });
    expectMatchingChildren(left, right, 1);
  });

  test.each(['left', 'right'] as const)('%s rekeys the child: keys change, the old child goes after its grace', (side) => {
    const { left, right } = established();
    const end = side === 'left' ? left : right;
    const before = keys(left)[0]!.in;
    end.endpoint.command({ kind: 'rekey-child', child: end.endpoint.info()[0]!.children[0]!.id }, 1000);
    settle(left, right, 1000);
    for (const e of [left, right]) {
      e.endpoint.expire(10_000);
      e.drain(10_000);
    }
    expectMatchingChildren(left, right, 1);
    expect(keys(left)[0]!.in).not.toBe(before);
  });

  test.each(['left', 'right'] as const)('%s rekeys the IKE SA: new SPIs, the child moves over', (side) => {
    const { left, right } = established();
    const end = side === 'left' ? left : right;
    const before = toHex(left.endpoint.info()[0]!.spiI);
    end.endpoint.command({ kind: 'rekey-ike', ikeSa: end.endpoint.info()[0]!.id }, 1000);
    settle(left, right, 1000);
    const [sa] = left.endpoint.info().filter((s) => s.state === 'established');
    expect(toHex(sa!.spiI)).not.toBe(before);
    expect(sa!.children).toHaveLength(1);
    expect(right.endpoint.info().filter((s) => s.state === 'established')[0]!.children).toHaveLength(1);
    left.endpoint.command({ kind: 'check-liveness', ikeSa: sa!.id }, 1000);
    settle(left, right, 1000);
    expect(left.has('failed')).toEqual([]);
    expectMatchingChildren(left, right, 1);
  });

  test.each(['left', 'right'] as const)('%s deletes the IKE SA: both ends are clean', (side) => {
    const { left, right } = established();
    const end = side === 'left' ? left : right;
    end.endpoint.command({ kind: 'delete-ike', ikeSa: end.endpoint.info()[0]!.id }, 1000);
    settle(left, right, 1000);
    for (const e of [left, right]) {
      e.endpoint.expire(100_000);
      e.drain(100_000);
      expect(e.endpoint.info()).toEqual([]);
      expect(e.children.size).toBe(0);
      expect(e.endpoint.nextDeadline()).toBeUndefined();
    }
  });

  test('both ends rekey the child at once: one child is left', () => {
    const { left, right } = established();
    for (const e of [left, right]) e.endpoint.command({ kind: 'rekey-child', child: e.endpoint.info()[0]!.children[0]!.id }, 1000);
    settle(left, right, 1000);
    for (const e of [left, right]) {
      e.endpoint.expire(10_000);
      e.drain(10_000);
    }
    expectMatchingChildren(left, right, 1);
  });

  test('both ends rekey the IKE SA at once: one is left, with the child', () => {
    const { left, right } = established();
    for (const e of [left, right]) e.endpoint.command({ kind: 'rekey-ike', ikeSa: e.endpoint.info()[0]!.id }, 1000);
    settle(left, right, 1000);
    for (const e of [left, right]) {
      e.endpoint.expire(100_000);
      e.drain(100_000);
      expect(e.endpoint.info()).toHaveLength(1);
      expect(e.endpoint.info()[0]!.children).toHaveLength(1);
    }
  });

  test('a lost answer is asked for again, bit-identical (RFC 7296 §2.1)', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')] });
    left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    let lost = 0;
    settle(left, right, 0, (d, from) => (from === right && lost++ === 0 ? undefined : d));
    left.endpoint.expire(1000);
    settle(left, right, 1000);
    expect(left.endpoint.info()[0]!.state).toBe('established');
    expect(toHex(left.sent[0]!.data)).toBe(toHex(left.sent[1]!.data));
    expect(right.endpoint.info()).toHaveLength(1);
  });

  test('an assigned address narrows the selectors (RFC 7296 §2.19)', () => {
    const left = { virtualIps: ['0.0.0.0'], children: [{ ...connection('left').children[0]!, localTs: ['dynamic' as const] }] };
    const right = { pools: ['pool'], children: [{ ...connection('right').children[0]!, remoteTs: ['dynamic' as const] }] };
    const ends = established({ left, right });
    expect(ends.left.has('failed').map((f) => f.error.message)).toEqual([]);
    expect(ends.left.endpoint.info()[0]!.assigned).toEqual(['10.66.0.5']);
    expect([...ends.left.children.values()][0]!.localTs[0]).toMatchObject({
      start: new Uint8Array([10, 66, 0, 5]),
      end: new Uint8Array([10, 66, 0, 5]),
    });
  });

  test('a snapshot goes on: the SA answers, the child is installed again', () => {
    const { left, right } = established();
    const saved = left.endpoint.snapshot();
    const again = new End({ connections: [connection('left')] });
    again.endpoint.restore(saved, 5000);
    settle(again, right, 5000);
    again.endpoint.command({ kind: 'check-liveness', ikeSa: again.endpoint.info()[0]!.id }, 6000);
    settle(again, right, 6000);
    expect(again.has('failed')).toEqual([]);
    expectMatchingChildren(again, right, 1);
  });
});

import { expect, test } from 'vitest';
import type { IkeSaInfo, Notice } from '../../../src/core/ike/effects.ts';
import { ConfigAttributeType } from '../../../src/core/wire/iana.ts';
import { InnerNames } from '../../../src/host/engine/inner-names.ts';

const told = (ikeSa: number, server: readonly number[]): Notice => ({
  kind: 'addresses',
  ikeSa,
  attributes: [{ type: ConfigAttributeType.INTERNAL_IP4_DNS, value: Uint8Array.from(server) }],
  addresses: ['10.66.0.5'],
  missing: [],
});

test('servers that a peer told us of are asked, also after a rekeying, until its IKE SA ends', () => {
  const names = new InnerNames(() => ({ assignedToUs: true }));
  expect(names.note(told(1, [10, 0, 0, 53]))).toBe(true);
  expect(names.note(told(2, [10, 0, 0, 53]))).toBe(true);
  expect(names.servers).toEqual(['10.0.0.53']);
  expect(names.note({ kind: 'ike-rekeyed', from: 1, to: 3, byUs: true })).toBe(true);
  for (const ikeSa of [1, 2]) names.note({ kind: 'ike-down', ikeSa, connection: 'net', reason: 'replaced', error: undefined });
  expect(names.servers).toEqual(['10.0.0.53']);
  names.note({ kind: 'ike-down', ikeSa: 3, connection: 'net', reason: 'deleted by the peer', error: undefined });
  expect(names.servers).toEqual([]);
});

test('servers that we told a peer of are none of ours: a gateway asks its own', () => {
  const names = new InnerNames(() => ({ assignedToUs: false }));
  expect(names.note(told(1, [10, 0, 0, 53]))).toBe(false);
  expect(names.servers).toEqual([]);
});

test('what a restart knows of names is in the IKE SA', () => {
  const splitDns = { servers: ['10.0.0.53'], domains: [{ name: 'corp.example', trustAnchors: [] }], ignored: [] };
  const names = new InnerNames(() => undefined);
  expect(names.note({ kind: 'ike-up', ikeSa: 1, info: { splitDns } as unknown as IkeSaInfo })).toBe(true);
  expect(names.note({ kind: 'ike-up', ikeSa: 2, info: {} as unknown as IkeSaInfo })).toBe(false);
  expect(names.servers).toEqual(['10.0.0.53']);
});

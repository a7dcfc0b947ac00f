import { expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/index.ts';
import { configurationRequest } from '../../../src/core/ike/tasks/configuration.ts';
import { ConfigAttributeType, type ConfigurationAttribute } from '../../../src/core/wire/index.ts';
import { childPolicy, subnet } from '../../../src/testing/policies.ts';
import { connection, End, settle } from './two-ends.ts';

/** What becomes of a client that asks for these, when the gateway answers CFG_REPLY with those. */
function answered(virtualIps: readonly string[], attributes: readonly ConfigurationAttribute[]): End {
  const everything = [subnet('0.0.0.0/0'), subnet('::/0')];
  const ours = childPolicy({ localTs: ['dynamic'], remoteTs: everything });
  const theirs = childPolicy({ localTs: everything, remoteTs: ['dynamic'] });
  const left = new End({ connections: [connection('left', { virtualIps, children: [ours] })] });
  const right = new End({ connections: [connection('right', { pools: ['pool'], children: [theirs] })] });
  const addresses = ['10.66.0.5', 'fd00::5'];
  right.answers = (ask) => (ask.kind === 'lease' ? { ok: true, attributes, addresses } : right.answer(ask));
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  const standing = (end: End) => end.endpoint.info().filter(({ state }) => state === 'established').length;
  expect(standing(right), 'both ends agree on whether there is an IKE SA').toBe(standing(left));
  expect(right.children.size, 'and on whether there is a child').toBe(left.children.size);
  return left;
}

const v4 = (hex: string) => ({ type: 1, value: fromHex(hex) });
const v6 = (hex: string) => ({ type: 8, value: fromHex(hex) });
const FIRST = v4('0a 42 00 05');
const PREFIXED = v6('fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05 40');

test.each([
  ['an empty CFG_REPLY', ['0.0.0.0'], []],
  ['an attribute without a value', ['0.0.0.0'], [v4('')]],
  ['the unspecified address', ['0.0.0.0'], [v4('00 00 00 00')]],
  ['the unspecified address of IPv6', ['::'], [v6(`${'00'.repeat(16)}40`)]],
  ['an address of a family that was not asked for', ['::'], [FIRST]],
  ['all but an address', ['0.0.0.0'], [{ type: 3, value: fromHex('0a 42 00 01') }]],
])('%s assigns nothing: the IKE SA is given back', (_what, asked, attributes) => {
  const left = answered(asked, attributes);
  expect(left.has('failed').map(({ error }) => error.code)).toEqual(['ADDRESS_NOT_ASSIGNED']);
  expect(left.has('failed')[0]!.error.message).toMatch(/its CFG_REPLY holds no IPv[46] address$/);
  expect(left.endpoint.info()).toEqual([]);
  expect(left.has('addresses')).toEqual([]);
});

test.each([
  ['of three octets', [v4('0a 42 00')]],
  ['of five octets', [v4('0a 42 00 05 20')]],
  ['of IPv6 without its prefix length', [{ type: 8, value: PREFIXED.value.subarray(0, 16) }]],
])('RFC 7296 §3.15.1: an address %s is a violation, even beside a good one', (_what, attributes) => {
  const left = answered(['0.0.0.0', '::'], [FIRST, ...attributes]);
  expect(left.has('failed').map(({ error }) => error.code)).toEqual(['INVALID_SYNTAX']);
  expect(left.endpoint.info()).toEqual([]);
});

test.each([
  ['the one that was given', ['0.0.0.0'], [FIRST], []],
  ['once what came twice', ['0.0.0.0'], [FIRST, FIRST, v4('00 00 00 00')], []],
  ['without what was not asked for', ['0.0.0.0'], [FIRST, PREFIXED], []],
  ['another than the one that was asked for', ['10.66.0.99'], [FIRST], []],
  ['one family of two', ['0.0.0.0', '::'], [FIRST], [6]],
  ['one of two of a family', ['0.0.0.0', '0.0.0.0'], [FIRST], []],
  [
    'it from among attributes that nobody knows',
    ['0.0.0.0'],
    [{ type: 0x3fff, value: fromHex('ff') }, FIRST, { type: 99, value: v4('').value }],
    [],
  ],
])('the client takes %s', (_what, asked, attributes, missing) => {
  const left = answered(asked, attributes);
  expect(left.has('failed')).toEqual([]);
  expect(left.has('addresses')).toMatchObject([{ addresses: ['10.66.0.5'], missing }]);
  expect(left.endpoint.info()).toMatchObject([{ assigned: ['10.66.0.5'] }]);
  expect(left.children.size).toBe(1);
});

test('CFG_REQUEST asks for addresses; a value stands in no other attribute, and no netmask is asked for (RFC 7296 §3.15.1, §4)', () => {
  const wanted = (virtualIps: readonly string[]) =>
    configurationRequest(connection('left', { virtualIps })).flatMap((p) => (p.kind === 'CP' ? p.attributes : []));
  const types = (attributes: readonly ConfigurationAttribute[]) => attributes.map(({ type }) => type);
  const { INTERNAL_IP4_ADDRESS, INTERNAL_IP6_ADDRESS, INTERNAL_IP4_NETMASK } = ConfigAttributeType;
  expect(types(wanted(['0.0.0.0']))).toContain(INTERNAL_IP4_ADDRESS);
  expect(types(wanted(['::']))).toContain(INTERNAL_IP6_ADDRESS);
  for (const virtualIps of [['0.0.0.0'], ['::'], ['10.66.0.9', 'fd00::9']]) {
    expect(types(wanted(virtualIps))).not.toContain(INTERNAL_IP4_NETMASK);
    const others = wanted(virtualIps).filter(({ type }) => type !== INTERNAL_IP4_ADDRESS && type !== INTERNAL_IP6_ADDRESS);
    expect(others.map(({ value }) => value.length)).toEqual(others.map(() => 0));
  }
});

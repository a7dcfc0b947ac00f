import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { probeMachine } from '../../../src/host/platform/probe.ts';

const roots: string[] = [];
afterEach(async () => {
  await Promise.all(roots.splice(0).map((root) => rm(root, { recursive: true })));
});

async function machine(files: Record<string, string>): Promise<string> {
  const root = `${await mkdtemp(join(tmpdir(), 'tunnelwright-probe-'))}/`;
  roots.push(root);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(root + path), { recursive: true });
    await writeFile(root + path, text);
  }
  return root;
}

const capabilities = (hex: string): string => `Name:\tnode\nCapInh:\t0000000000000000\nCapEff:\t${hex}\n`;

test('an ordinary user of a usual Linux', async () => {
  const root = await machine({
    'proc/self/status': capabilities('0000000000000000'),
    'proc/sys/net/ipv4/ip_unprivileged_port_start': '1024\n',
    'proc/sys/user/max_user_namespaces': '62000\n',
    'proc/sys/net/core/rmem_max': '212992\n',
    'proc/sys/net/ipv4/ip_forward': '0\n',
    'proc/sys/net/ipv6/conf/all/forwarding': '1\n',
    'proc/sys/net/ipv4/conf/all/accept_redirects': '1\n',
    'dev/net/tun': '',
  });
  expect(await probeMachine(root)).toMatchObject({
    lowPorts: false,
    tun: false,
    userNamespaces: true,
    receiveBufferLimit: 212_992,
    forwarding: { ipv4: false, ipv6: true },
    redirects: { sent: undefined, accepted: true },
  });
});

test.each([
  ['CAP_NET_BIND_SERVICE alone', { 'proc/self/status': capabilities('0000000000000400') }, { lowPorts: true, tun: false }],
  ['CAP_NET_ADMIN alone', { 'proc/self/status': capabilities('0000000000001000') }, { lowPorts: false, tun: true }],
  [
    'ports opened to all',
    { 'proc/self/status': capabilities('0'), 'proc/sys/net/ipv4/ip_unprivileged_port_start': '0' },
    { lowPorts: true, tun: false },
  ],
])('%s', async (_what, files, expected) => {
  expect(await probeMachine(await machine({ 'dev/net/tun': '', ...files }))).toMatchObject(expected);
});

test.each([
  ['none allowed', { 'proc/sys/user/max_user_namespaces': '0' }, false],
  ['the clone switch', { 'proc/sys/user/max_user_namespaces': '1000', 'proc/sys/kernel/unprivileged_userns_clone': '0' }, false],
  ['AppArmor', { 'proc/sys/user/max_user_namespaces': '1000', 'proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1' }, false],
  ['nothing known', {}, undefined],
])('user namespaces: %s', async (_what, files, expected) => {
  expect((await probeMachine(await machine(files))).userNamespaces).toBe(expected);
});

test('a system without such files: nothing is claimed', async () => {
  expect(await probeMachine(await machine({}))).toMatchObject({
    node: process.versions.node,
    lowPorts: undefined,
    tun: undefined,
    userNamespaces: undefined,
    receiveBufferLimit: undefined,
  });
});

test('this machine answers', async () => {
  const { openssl, native } = await probeMachine();
  expect(openssl).toMatch(/^\d/);
  // either it is said why there are no native calls, or what they can do
  expect(native.lack === undefined).toBe(native.cipherContexts !== undefined);
  expect(native.lack === undefined).toBe(native.udpSegmentation !== undefined);
  if (process.versions.openssl.startsWith('3.') && native.lack === undefined) expect(native.cipherContexts).toBe(true);
});

import { statSync } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CliOptions, cli, json } from './harness.ts';
import { clientOf, portsOf, User } from './user.ts';

let user: User;
let folder: string;
let options: CliOptions;

beforeEach(() => {
  user = new User();
  ({ folder, options } = user);
});
afterEach(() => user.leave());

const config = (file: string, body: string) => user.put(file, `${body}\nsecrets: {home: {kind: psk, secret_file: home.psk}}\n`);

const gateway = (address: string, ike: number, nat: number, more = '') => `listen: {addresses: ${address}, port: ${ike}, nat_port: ${nat}}
connections:
  clients:
    local: {auth: psk, id: home.example.com}
    remote: {auth: psk}
    pools: lan
    children: {net: {}}
pools: {lan: {addrs: 10.66.0.0/24}}
${more}`;

// 127.0.0.2 is this machine on Linux alone
describe.skipIf(platform() !== 'linux')('redirect', () => {
  test('sends a client to another gateway; it goes there and leaves', async () => {
    config('first.yaml', gateway('127.0.0.1', 0, 0, 'state: kept'));
    const first = user.start('serve', '--config', 'first.yaml');
    const { ike, nat } = await portsOf(first);
    expect(statSync(join(folder, 'kept', 'secret')).mode & 0o777).toBe(0o600);
    config('second.yaml', gateway('127.0.0.2', Number(ike), Number(nat), 'name: second'));
    await user.start('serve', '--config', 'second.yaml').says(/listening on/);
    user.put('client.yaml', clientOf({ ike, nat }));
    await user.start('up', 'home', '--config', 'client.yaml').says(/up in /);
    expect((await cli(['sas'], options)).out).toMatch(/redirectable/);

    expect(await cli(['redirect'], options)).toMatchObject({ code: 2, err: expect.stringContaining('Give --to HOST.') });
    expect(await cli(['redirect', '--to', '127.0.0.2', '--peer', 'a', '--ike', '1'], options)).toMatchObject({ code: 2 });
    expect(await cli(['redirect', '--to', '127.0.0.2', '--ike', 'one'], options)).toMatchObject({ code: 2 });
    expect(await cli(['redirect', '--to', '127.0.0.2'], options)).toMatchObject({
      code: expect.not.stringMatching(/^0$/),
      err: expect.stringContaining('several instances are running'),
    });
    const told = await cli(['redirect', '--to', '127.0.0.2', '--peer', 'laptop@home.example.com'], options);
    expect(told).toMatchObject({ code: 0, out: '✓ sent 1 peer to 127.0.0.2\n' });
    await first.says(/sent {2}laptop@home\.example\.com {2}#\d+ {2}to 127\.0\.0\.2/);
    await first.says(/down {2}laptop@home\.example\.com/);
    const { instances } = json(await cli(['status', '--json'], options)) as {
      instances: { name: string; peers: { id: string; state: string }[] }[];
    };
    const peersOf = (name: string) => instances.find((one) => one.name === name)!.peers;
    expect(peersOf('second')).toMatchObject([{ id: 'laptop@home.example.com', state: 'up' }]);
    expect(peersOf('gateway')).toMatchObject([{ id: 'laptop@home.example.com', state: 'down' }]);
  });
});

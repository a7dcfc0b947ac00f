import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectFromHere } from '../../src/host/platform/local-ports.ts';
import { everything } from '../product/reach/scene.ts';
import { type Cli, type CliOptions, cli } from './harness.ts';
import { clientOf, portsOf, User } from './user.ts';

/** Real sockets on loopback, the real core, in one process; what is behind the gateway is a web server of this machine, let in by `forward -R`. */
let user: User;
let options: CliOptions;
let webPort: number;
const web = createServer((request, response) => response.end(`you asked ${request.headers.host} for ${request.url}`));

const start = (argv: readonly string[], pattern: RegExp): Promise<RegExpExecArray> => user.start(...argv).says(pattern);

beforeAll(async () => {
  user = new User();
  options = user.options;
  user.put('proxy.user', 'bob:secret\n');
  user.put('bad.user', 'bob\n');
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  webPort = (web.address() as AddressInfo).port;
  const flags = ['--address', '127.0.0.1', '--port', '0', '--nat-port', '0', '--psk-file', 'home.psk', '--id', 'home.example.com'];
  user.put('client.yaml', clientOf(await portsOf(user.start('serve', ...flags))));
});
afterAll(async () => {
  await user.leave();
  web.close();
});

describe('programs of this machine', () => {
  let direct: number;

  beforeAll(async () => {
    await start(['forward', '-R', `7000:127.0.0.1:${webPort}`, '--through', 'gateway'], /✓ tunnel port 7000 → 127\.0\.0\.1:\d+/);
    const up = ['up', 'home', '--config', 'client.yaml', '--socks', ':0', '-L', '0:10.66.0.1:7000'];
    const [, , port] = await start(up, /socks5:\/\/127\.0\.0\.1:(\d+)[\s\S]*127\.0\.0\.1:(\d+) → 10\.66\.0\.1:7000/);
    direct = Number(port);
  });

  test('reach what is behind the gateway by a port that up forwards, by a proxy of another process, and by nc', async () => {
    expect(await (await fetch(`http://127.0.0.1:${direct}/a`)).text()).toBe(`you asked 127.0.0.1:${direct} for /a`);
    const [, proxy] = await start(['proxy', '--listen', '0', '--proxy-auth', 'proxy.user'], /✓ http:\/\/127\.0\.0\.1:(\d+)/);
    const socket = await connectFromHere({ host: '127.0.0.1', port: Number(proxy) });
    socket.write(`GET http://10.66.0.1:7000/b HTTP/1.0\r\nProxy-Authorization: Basic ${btoa('bob:secret')}\r\n\r\n`);
    expect(await everything(socket)).toMatch(/you asked 10\.66\.0\.1:7000 for \/b$/);
    const stdin = new TextEncoder().encode('GET /c HTTP/1.0\r\nHost: x\r\n\r\n');
    const nc = await cli(['nc', '10.66.0.1', '7000'], { ...options, stdin });
    expect(nc).toMatchObject({ code: 0, out: expect.stringMatching(/you asked x for \/c$/), err: '' });
  });

  test('ping says who answered, through whom', async () => {
    const { code, out } = await cli(['ping', '10.66.0.1', '-n', '2', '--interval', '10ms'], options);
    expect(code).toBe(0);
    expect(out).toMatch(/^(pong from 10\.66\.0\.1 via esp-in-udp 127\.0\.0\.1:\d+ in [\d.]+ ms\n){2}$/);
    expect(await cli(['ping', '10.66.0.77', '-n', '1', '--timeout', '300ms'], options)).toMatchObject({ code: 6 });
  });

  test('forward and proxy say once that the instance has ended, and once that it is back', async () => {
    const serve = ['serve', '--name', 'branch', '--address', '127.0.0.1', '--port', '0', '--nat-port', '0', '--psk-file', 'home.psk'];
    const start = async (argv: readonly string[], pattern: RegExp): Promise<Cli> => {
      const one = user.start(...argv);
      await one.says(pattern);
      return one;
    };
    const first = await start(serve, /listening on/);
    const through = ['--through', 'branch'];
    const forward = await start(['forward', '-R', '7002:127.0.0.1:9', '-R', '7003:127.0.0.1:9/udp', ...through], /Ctrl-C to stop/);
    const proxy = await start(['proxy', '--listen', '0', ...through], /Ctrl-C to stop/);
    first.signal('SIGTERM');
    await first.done;
    for (const each of [forward, proxy]) await each.says(/branch has ended: nothing passes until it is back/);
    await start(serve, /listening on/);
    for (const each of [forward, proxy]) {
      await each.says(/✓ branch is back/);
      expect((each.out + each.err).match(/branch has ended|branch is back|running/g)).toEqual(['branch has ended', 'branch is back']);
    }
    const again = await cli(['forward', '-R', '7002:127.0.0.1:9', ...through], options);
    expect(again).toMatchObject({ code: expect.toSatisfy((code: number) => code !== 0), err: expect.stringMatching(/7002|in use/) });
  });

  test('hear in one sentence what is wrong', async () => {
    const failures: readonly (readonly [string[], number, RegExp])[] = [
      [['nc', '10.66.0.1', '7001'], 6, /connection refused {3}exit 6/],
      [['nc', '10.66.0.1', 'http'], 2, /http is no port/],
      [['nc', 'name.test', '80'], 1, /cannot be resolved/],
      [['nc', '10.66.0.1', '7000', '--through', 'work'], 3, /nothing here is called work/],
      [['proxy', '--listen', 'nowhere'], 2, /no address to listen on/],
      [['proxy', '--listen', '0', '--proxy-auth', 'bad.user'], 2, /does not hold a name and a password/],
      [['forward'], 2, /what is to lead where/],
      [['forward', '-L', '80'], 2, /does not say what leads where/],
      [['ping', '10.66.0.1', '-n', 'x'], 2, /x is no number/],
    ];
    for (const [argv, code, text] of failures) expect(await cli(argv, options)).toMatchObject({ code, err: expect.stringMatching(text) });
  });
});

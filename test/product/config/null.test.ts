import { describe, expect, test } from 'vitest';
import { compile, loadConfig } from '../../../src/product/config/index.ts';

const config = (options: { local?: string; remote?: string; more?: string; child?: string; others?: string }) =>
  compile(
    loadConfig(
      `pools: {inner: {addrs: 10.66.0.0/24}}
secrets: {s: {kind: psk, secret_file: s.psk}}
connections:
  open:
    local: ${options.local ?? '{auth: psk, id: us}'}
    remote: ${options.remote ?? '{auth: null}'}
${options.more ?? ''}
    children: {net: {${options.child ?? ''}}}
${options.others ?? ''}
`,
      { file: 'f.yaml' },
    ),
  );

describe('auth: null (RFC 7619)', () => {
  test.each(['null', '"null"', '~'])('remote %s lets anybody in, and says so', (word) => {
    const { connections, warnings } = config({ remote: `{auth: ${word}}` });
    expect(connections[0]!.remote).toEqual([{ auth: 'null', id: { kind: 'any' } }]);
    expect(warnings).toMatchObject([
      { message: expect.stringContaining('anybody may be the peer of this connection'), hint: expect.any(String) },
    ]);
  });

  test('local: nothing is needed, no identity is told unless one is set', () => {
    const quiet = config({ local: '{auth: null}', remote: '{auth: psk}' });
    expect(quiet.connections[0]!.local).toEqual([{ auth: 'null', id: undefined }]);
    expect(quiet.warnings).toEqual([]);
  });

  test('neither end', () => {
    const { warnings } = config({ local: '{auth: null}', more: '    remote_addrs: 192.0.2.1', child: 'remote_ts: 10.1.0.0/16' });
    expect(warnings).toMatchObject([{ message: expect.stringContaining('neither end proves who it is') }]);
  });

  test.each([
    [{ remote: '{auth: null, id: alice}' }, 'connections.open.remote.id: tells nobody apart'],
    [{ remote: '{auth: null, cacerts: ca.pem}' }, 'connections.open.remote.cacerts: has no use'],
    [{ local: '{auth: null, certs: me.pem}' }, 'connections.open.local.certs: has no use: with auth: null we prove nothing'],
    [
      { child: 'remote_ts: 10.1.0.0/16' },
      'connections.open.children.net.remote_ts: would let anybody draw traffic of this network to itself',
    ],
    [{ more: '    pools: inner', child: 'remote_ts: [dynamic, 8.8.8.8]' }, 'connections.open.children.net.remote_ts[1]: would let anybody'],
  ])('%o is refused', (options, message) => {
    expect(() => config(options)).toThrow(message);
  });

  test('a pool that others share is worth a warning', () => {
    const others = '  known: {local: {auth: psk, id: us}, remote: {auth: psk}, pools: inner, children: {net: {}}}';
    expect(config({ more: '    pools: inner', others }).warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining('anybody may be'),
      expect.stringContaining('peers of known, which prove who they are, get addresses of the same pool'),
    ]);
  });
});

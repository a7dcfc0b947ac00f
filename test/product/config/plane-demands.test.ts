import { describe, expect, test } from 'vitest';
import { checkPlane, compile, loadConfig } from '../../../src/product/config/index.ts';

const children = (lines: string) =>
  compile(
    loadConfig(
      `secrets:
  key: {kind: psk, secret: correct horse battery staple}
connections:
  road:
    local: {auth: psk, id: us}
    remote: {auth: psk}
    children:
      net: {remote_ts: 0.0.0.0/0}
      more:
${lines
  .split('\n')
  .map((line) => `        ${line}`)
  .join('\n')}
`,
      { file: 'f.yaml' },
    ),
  );

const [NETSTACK, TUN, XFRM] = [
  { name: 'netstack' },
  { name: 'tun', features: ['bypass'] },
  { name: 'xfrm', features: ['kernel', 'bypass'] },
] as const;

describe('what not every data plane can is refused where it is written', () => {
  test.each([
    ['mark_out: 7/0xff', 'f.yaml:10:19 connections.road.children.more.mark_out: the data plane tun does not do this: marks'],
    ['if_id_out: 0x2a', 'f.yaml:10:20 connections.road.children.more.if_id_out: the data plane tun does not do this: XFRM interfaces'],
    ['hw_offload: packet', 'f.yaml:10:21 connections.road.children.more.hw_offload: the data plane tun does not do this: a network card'],
    ['hw_offload: crypto', 'f.yaml:10:21 connections.road.children.more.hw_offload: the data plane tun does not do this: a network card'],
  ])('%s', (line, message) => {
    const { demands } = children(line);
    expect(() => checkPlane(demands, TUN)).toThrow(message);
    expect(() => checkPlane(demands, TUN)).toThrow(
      expect.objectContaining({ code: 'PLANE_UNFIT', hint: expect.stringContaining('plane: xfrm') }),
    );
    expect(() => checkPlane(demands, XFRM)).not.toThrow();
  });

  test('a way past the tunnels', () => {
    const { demands } = children('mode: pass\nremote_ts: 192.168.0.0/16');
    expect(() => checkPlane(demands, NETSTACK)).toThrow(
      'f.yaml:10:15 connections.road.children.more.mode: the data plane netstack does not do this',
    );
    for (const plane of [TUN, XFRM]) expect(() => checkPlane(demands, plane)).not.toThrow();
  });

  test.each(['mode: drop\nremote_ts: 192.168.0.0/16', 'hw_offload: auto', 'if_id_in: 0'])('not %s', (lines) => {
    expect(children(lines).demands).toEqual([]);
  });
});

describe('a shunt has no CHILD_SA', () => {
  test.each([
    [
      'mode: drop\nremote_ts: 10.0.0.0/8\npfs: require',
      'f.yaml:12:14 connections.road.children.more.pfs: says nothing of a child with mode: drop',
    ],
    ['mode: pass\nremote_ts: dynamic', 'connections.road.children.more.remote_ts: dynamic is an end of a CHILD_SA'],
    ['mode: pass', 'connections.road.children.more.remote_ts: is missing'],
    [
      'mode: drop\nremote_ts: 10.0.0.0/8\nstart_action: start',
      'connections.road.children.more.start_action: there is nothing to connect to',
    ],
  ])('%#', (lines, message) => {
    expect(() => children(lines)).toThrow(message);
  });

  test('and swanctl.conf calls it trap', () => {
    expect(() => children('mode: drop\nremote_ts: 10.0.0.0/8\nstart_action: trap')).not.toThrow();
  });
});

test('numbers of interfaces and marks, those of the connection for its children', () => {
  const policy = (lines: string) => children(lines).connections[0]!.children[1]!.packets?.kernel;
  expect(policy('mark_in: 0x10/0xff\nmark_in_sa: yes\nset_mark_out: 9\nif_id_in: 42\nhw_offload: yes')).toEqual({
    markIn: { value: 16, mask: 255 },
    markInSa: true,
    setMarkOut: { value: 9 },
    ifIdIn: 42,
    offload: 'crypto',
  });
  expect(policy('if_id_in: 0')).toBeUndefined();
  expect(() => policy('mark_in_sa: yes')).toThrow('there is no mark to put on the SA');
  expect(() => policy('mark_in: 5000000000')).toThrow('more than 32 bits');
});

import { afterAll, beforeAll, expect, test } from 'vitest';
import { KernelRoutes } from '../../../src/host/dataplane/xfrm/kernel-routes.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { childPair } from '../../host/support/esp-pair.ts';
import { addInside, createNetwork, type Network } from '../support/network.ts';
import { must } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/** What the plane xfrm does to addresses, routes and rules: any kernel has these. */
describeWith(NAMESPACES, 'routes and addresses of the kernel plane', () => {
  const scope = new Scope();
  let network: Network;
  let socket: NetlinkSocket;

  beforeAll(async () => {
    network = await createNetwork(scope);
    await addInside(network.left);
    await ip('route', 'add', 'default', 'via', network.left.peerAddress);
    socket = await NetlinkSocket.open('route', { namespace: `/run/netns/${network.left.namespace}` });
    scope.defer('the socket', () => socket.close());
  });
  afterAll(() => scope.close());

  const ip = (...words: string[]): Promise<string> => must('ip', ['-n', network.left.namespace, ...words]);
  const machine = async (): Promise<string> =>
    [await ip('address', 'show', 'dev', 'lo'), await ip('rule'), await ip('-6', 'rule'), await ip('route', 'show', 'table', 'all')].join(
      '\n',
    );
  const routes = (abandoned: readonly number[] = [], number = 0) =>
    new KernelRoutes(socket, { number, abandoned: () => new Set(abandoned) }, []);
  const lent = (remoteTs: readonly string[], id = 1) =>
    childPair({
      id,
      localTs: ['10.3.0.9/32'],
      remoteTs: [...remoteTs],
      more: { name: 'net', assigned: ['10.3.0.9'], remote: { ip: network.left.peerAddress, port: 4500 } },
    }).a;
  const wayTo = async (destination: string): Promise<string> => (await ip('route', 'get', destination)).split('\n')[0]!.trim();

  test('what was lent is the source of what goes there, until all of it is taken back', async () => {
    const before = await machine();
    const made = routes();
    made.install(lent(['10.2.0.0/24']));
    expect(await ip('address', 'show', 'dev', 'lo')).toContain('inet 10.3.0.9/32');
    expect(await wayTo('10.2.0.7')).toMatch(/^10\.2\.0\.7 dev \S+ table 44000 src 10\.3\.0\.9/);
    expect(await wayTo('192.0.2.1')).toMatch(/src 10\.9\.0\.1/);
    made.remove(1);
    // it was to be protected once, and is afterwards
    expect(await wayTo('10.2.0.7')).toMatch(/src 10\.3\.0\.9/);
    made.close();
    expect(await machine()).toBe(before);
  });

  test('a tunnel that takes everything leaves the peer and the networks alone that the machine is on', async () => {
    const made = routes();
    try {
      expect(made.neighbours()).toContain('10.9.0.0/24');
      made.install(lent(['0.0.0.0/0']));
      expect(await wayTo('192.0.2.1')).toMatch(/table 44001 src 10\.3\.0\.9/);
      expect(await wayTo('10.9.0.7')).toMatch(/^10\.9\.0\.7 dev \S+ src 10\.9\.0\.1/);
      expect(await wayTo(network.left.peerAddress)).toMatch(/src 10\.9\.0\.1/);
      // the way to the peer is lost: nothing falls back to another
      await ip('route', 'del', 'default');
      await ip('route', 'flush', 'table', '44001', 'type', 'unicast');
      await expect(wayTo('192.0.2.1')).rejects.toThrow(/No route|unreachable/i);
      await ip('route', 'add', 'default', 'via', network.left.peerAddress);
      made.move(1, network.left.peerAddress);
      expect(await wayTo('192.0.2.1')).toMatch(/table 44001 src 10\.3\.0\.9/);
    } finally {
      made.close();
    }
  });

  test('what a former life left behind leads nowhere until the next sweeps, which keeps what it has use for', async () => {
    const before = await machine();
    routes().install(lent(['10.2.0.0/24', '10.5.0.0/16']));
    routes([], 1).install(lent(['10.6.0.0/24']));
    const next = routes([1]);
    expect(await wayTo('10.5.0.1')).toMatch(/src 10\.3\.0\.9/);
    next.install(lent(['10.2.0.0/24'], 2));
    next.sweep();
    expect(await wayTo('10.2.0.1')).toMatch(/table 44000 src 10\.3\.0\.9/);
    for (const gone of ['10.5.0.1', '10.6.0.1']) expect(await wayTo(gone)).toMatch(/src 10\.9\.0\.1/);
    next.close();
    expect(await machine()).toBe(before);
  });

  test('a gateway reaches those whom it lent addresses to by the routes that it has', async () => {
    const made = routes();
    const before = await machine();
    made.install(childPair({ id: 1, localTs: ['0.0.0.0/0'], remoteTs: ['10.3.0.4/32'], more: { assigned: ['10.3.0.4'] } }).a);
    expect(await machine()).toBe(before);
    made.close();
  });
});

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { compile, configFrom, createGateway } from '../../../src/index.ts';
import { type Identity, LEFT_ID, swanctlConf } from '../../interop/support/profile.ts';
import { type Cases, command } from '../support/cases.ts';
import { Charon } from '../support/charon.ts';
import { configured, echoes, OURS, THEIRS, world } from '../support/tunnel.ts';
import { echoesIn, Wire } from '../support/wire.ts';

/** Our gateway lends addresses to two clients, which are strongSwan, each in a namespace and on a wire of its own. */
export const hairpin: Cases = {
  'clients of a gateway reach each other through it, and nothing of it leaves in clear': async () => {
    const charon = await world();
    command('ip netns add third');
    command(`ip link add second netns ${OURS.namespace} type veth peer name wire netns third`);
    const THIRD = { ...THEIRS, namespace: 'third', address: '10.78.0.2', peerAddress: '10.78.0.1' };
    for (const [namespace, words] of [
      [OURS.namespace, 'address add 10.78.0.1/24 dev second'],
      [OURS.namespace, 'link set second up'],
      ['third', 'link set lo up'],
      ['third', 'address add 10.78.0.2/24 dev wire'],
      ['third', 'link set wire up'],
      ['third', 'route add default via 10.78.0.1'],
    ] as const)
      command(`ip -n ${namespace} ${words}`);
    // this thread is in our namespace
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
    const other = await Charon.start('third');
    const gateway = await createGateway({ config: compile(configFrom(serving())) });
    const wire = await Wire.tap(OURS.namespace);
    try {
      await gateway.listen();
      await charon.configure(client(THEIRS, 'one.example'));
      await other.configure(client(THIRD, 'two.example'));
      for (const each of [charon, other]) await each.tell('--initiate', '--child', 'net', '--timeout', '120');
      assert.deepEqual(
        gateway
          .ikeSas()
          .flatMap(({ assigned }) => assigned)
          .sort(),
        ['10.66.0.1', '10.66.0.2'],
      );
      wire.sent();
      assert.equal((await echoes(THEIRS, { from: '10.66.0.1', to: '10.66.0.2' })).length, 3);
      assert.equal((await echoes(THIRD, { from: '10.66.0.2', to: '10.66.0.1' })).length, 3);
      for (const { children } of gateway.ikeSas())
        assert.deepEqual([children[0]!.counters?.inbound.packets, children[0]!.counters?.outbound.packets], [6, 6]);
      assert.deepEqual(echoesIn(wire), []);
    } catch (error) {
      throw new Error(`${(error as Error).stack}\n${charon.log()}\n${other.log()}\n${command(`ip -n ${OURS.namespace} xfrm policy`)}`);
    } finally {
      wire.close();
      await gateway.close(5000);
      await charon.configure({});
    }
  },
};

const serving = (): object =>
  configured({
    connection: { remote_addrs: '%any', local_addrs: '%any', pools: 'lent', remote: { auth: 'psk', id: '*.example' } },
    child: { local_ts: '10.66.0.0/24', remote_ts: 'dynamic' },
    sections: { pools: { lent: { addrs: '10.66.0.0/24' } } },
  });

function client(host: typeof THEIRS, id: string) {
  const identity: Identity = { auth: 'psk', id, peerId: LEFT_ID, secret: 'between two namespaces' };
  const peer = { ...OURS, address: host.peerAddress };
  const lent = { connection: { vips: '0.0.0.0', mobike: 'no' }, child: { local_ts: 'dynamic', remote_ts: '10.66.0.0/24' } };
  return swanctlConf({ host, peer, identity, ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16-x25519', ...lent });
}

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { compile, configFrom, createClient } from '../../../src/index.ts';
import { eventually } from '../../interop/support/process.ts';
import { type Cases, command } from '../support/cases.ts';
import { dropsAt, echoesAt } from '../support/counters.ts';
import { configured, OURS, reaches, THEIRS, type Tunnel, withTunnel } from '../support/tunnel.ts';
import { echoesIn } from '../support/wire.ts';
import { hairpin } from './hairpin.ts';
import { offload } from './offload.ts';
import { policies } from './policies.ts';
import { rekeyings } from './rekeying.ts';

/** The product with the plane xfrm, and strongSwan with kernel-netlink, each in a namespace of the guest. */
export const cases: Cases = {
  ...rekeyings,
  ...hairpin,
  ...offload,
  ...policies,

  'ESP in UDP: packets pass either way, and none of ours is lost while either end rekeys': () =>
    withTunnel(IN_UDP, async (tunnel) => {
      await passes(tunnel, { encap: true });
      await rekeyed(tunnel);
    }),

  'ESP without UDP, with extended sequence numbers': () =>
    withTunnel({ esp: 'aes256gcm16-x25519-esn' }, async (tunnel) => {
      await passes(tunnel, { esn: true });
      await rekeyed(tunnel);
    }),

  'transport mode between the hosts themselves': () =>
    withTunnel({ child: BETWEEN_HOSTS, theirChild: BETWEEN_HOSTS }, async (tunnel) => {
      await passes(tunnel, { mode: 'transport' });
      await rekeyed(tunnel);
    }),

  'transport mode in UDP': () =>
    withTunnel({ ...IN_UDP, child: BETWEEN_HOSTS, theirChild: BETWEEN_HOSTS }, (tunnel) =>
      passes(tunnel, { mode: 'transport', encap: true }),
    ),

  'AH in tunnel mode': () =>
    withTunnel({ child: OF_AH, theirChild: OF_AH }, async (tunnel) => {
      await passes(tunnel, { protocol: 'ah' });
    }),

  'AH in transport mode': () =>
    withTunnel({ child: { ...BETWEEN_HOSTS, ...OF_AH }, theirChild: { ...BETWEEN_HOSTS, ...OF_AH } }, (tunnel) =>
      passes(tunnel, { mode: 'transport', protocol: 'ah' }),
    ),

  'IPComp inside of ESP, which makes packets smaller': () =>
    withTunnel({ child: { ipcomp: 'yes' }, theirChild: { ipcomp: 'yes' } }, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      // those that would not become smaller go without
      assert.equal((await tunnel.ping()).length, 3);
      const before = onlyChild(tunnel).counters!.outbound.bytes;
      assert.equal((await tunnel.ping({ octets: 1200 })).length, 3);
      assert.ok(onlyChild(tunnel).counters!.outbound.bytes - before < 3 * 400);
      assert.equal((await tunnel.pingBack({ octets: 1200 })).length, 3);
      assert.match(command(`ip -n ${OURS.namespace} xfrm state`), /proto comp/);
      assert.deepEqual(echoesIn(tunnel.wire), []);
    }),

  'a packet asks for the SA, and none leaves in clear before, meanwhile or afterwards': () =>
    withTunnel({ child: { start_action: 'trap' } }, async (tunnel) => {
      // so long the kernel takes an SA for being on its way, seconds
      writeFileSync('/proc/sys/net/core/xfrm_acq_expires', '2');
      const { charon, ours } = tunnel;
      await charon.configure({});
      assert.deepEqual(await tunnel.ping({ count: 2, every: 1 }), []);
      await eventually('it has called and was refused', () => ours.ikeSas().length === 0, LONG);
      assert.deepEqual(echoesIn(tunnel.wire), []);
      await charon.configure(tunnel.theirs);
      await reaches(tunnel);
      assert.equal((await tunnel.ping()).length, 3);
      await ours.down({ ikeSa: ours.ikeSas()[0]!.id });
      await reaches(tunnel);
      assert.deepEqual(echoesIn(tunnel.wire), []);
    }),

  'a child that is called at the start drops its packets until it stands, and again when it is gone': () =>
    withTunnel({ child: { start_action: 'start' } }, async (tunnel) => {
      assert.deepEqual(await tunnel.ping({ count: 2 }), []);
      assert.deepEqual(echoesIn(tunnel.wire), []);
      await passes(tunnel, {});
      await tunnel.ours.down({ ikeSa: tunnel.ours.ikeSas()[0]!.id });
      assert.deepEqual(await tunnel.ping({ count: 2 }), []);
      assert.deepEqual(echoesIn(tunnel.wire), []);
    }),

  'policies that another program flushes stand again': () =>
    withTunnel({}, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      const policies = (): string[] =>
        command(`ip -n ${OURS.namespace} xfrm policy`)
          .match(/dir (in|out|fwd)/g)
          ?.sort() ?? [];
      const before = policies();
      command(`ip -n ${OURS.namespace} xfrm policy flush`);
      await eventually('they stand again', () => policies().join() === before.join(), LONG);
      assert.equal((await tunnel.ping()).length, 3);
    }),

  'an address that is lent is one of the machine, and what goes to the other end has it': () =>
    withTunnel(LENT, async (tunnel) => {
      await tunnel.ours.up({ connection: 'net' });
      assert.match(command(`ip -n ${OURS.namespace} address show dev lo`), /inet 10\.3\.0\.1\/32/);
      tunnel.wire.sent();
      assert.equal((await tunnel.ping({ from: '' })).length, 3);
      assert.equal((await tunnel.pingBack({ to: '10.3.0.1' })).length, 3);
      assert.equal(onlyChild(tunnel).counters?.inbound.packets, 6);
      await tunnel.ours.down({ ikeSa: tunnel.ours.ikeSas()[0]!.id });
      assert.deepEqual(await tunnel.ping({ from: '', count: 2 }), []);
      assert.deepEqual(echoesIn(tunnel.wire), []);
    }),

  'a tunnel that takes everything leaves the network alone that the machine is on': () =>
    withTunnel(
      { ...LENT, child: { ...LENT.child, remote_ts: '0.0.0.0/0' }, theirChild: { ...LENT.theirChild, local_ts: '0.0.0.0/0' } },
      async (tunnel) => {
        await tunnel.ours.up({ connection: 'net' });
        tunnel.wire.sent();
        assert.equal((await tunnel.ping({ from: '' })).length, 3);
        assert.deepEqual(echoesIn(tunnel.wire), []);
        assert.equal((await tunnel.ping({ from: '', to: THEIRS.address })).length, 3);
        assert.deepEqual(echoesIn(tunnel.wire), Array(3).fill({ source: OURS.address, destination: THEIRS.address }));
      },
    ),

  'two instances in one namespace leave what is the other one’s alone': () =>
    withTunnel(
      { theirConnection: { remote: { auth: 'psk', id: '%any' } }, theirChild: { remote_ts: '10.1.0.0/24,10.4.0.0/24' } },
      async (tunnel) => {
        await tunnel.ours.up({ connection: 'net' });
        const states = command(`ip -n ${OURS.namespace} xfrm state`).match(/spi \w+/g) ?? [];
        const other = await createClient({
          config: compile(configFrom(configured({ id: 'other.example', child: { local_ts: '10.4.0.0/24' } }))),
        });
        try {
          await other.up({ connection: 'net' });
          assert.equal(command(`ip -n ${OURS.namespace} xfrm state`).match(/spi \w+/g)?.length, 2 * states.length);
          assert.equal((await tunnel.ping({ from: '10.4.0.1' })).length, 3);
          assert.equal((await tunnel.ping()).length, 3);
          assert.equal(onlyChild(tunnel).counters?.inbound.packets, 3);
        } finally {
          await other.close(5000);
        }
        assert.deepEqual(command(`ip -n ${OURS.namespace} xfrm state`).match(/spi \w+/g), states);
        assert.equal((await tunnel.ping()).length, 3);
      },
    ),

  'MOBIKE: the SAs go to another address with their numbers': () =>
    withTunnel(
      { connection: { local_addrs: '%any', encap: 'yes' }, theirConnection: { mobike: 'yes', remote_addrs: '%any' } },
      async (tunnel) => {
        writeFileSync('/proc/sys/net/ipv4/conf/wire/promote_secondaries', '1');
        await tunnel.ours.up({ connection: 'net' });
        assert.equal((await tunnel.ping()).length, 3);
        const { inboundSpi } = onlyChild(tunnel);
        tunnel.wire.sent();
        command(`ip -n ${OURS.namespace} address add ${ELSEWHERE}/24 dev wire`);
        command(`ip -n ${OURS.namespace} address del ${OURS.address}/24 dev wire`);
        try {
          await eventually('the SA is elsewhere', () => tunnel.ours.ikeSas()[0]?.local.ip === ELSEWHERE, LONG);
          await reaches(tunnel);
          assert.equal((await tunnel.ping()).length, 3);
          assert.equal((await tunnel.pingBack()).length, 3);
          assert.equal(onlyChild(tunnel).inboundSpi, inboundSpi);
          for (const { namespace } of [OURS, THEIRS])
            assert.equal(
              command(`ip -n ${namespace} xfrm state`).match(new RegExp(`(src|dst) ${ELSEWHERE.replaceAll('.', '\\.')}\\b`, 'g'))?.length,
              2,
            );
          assert.deepEqual(echoesIn(tunnel.wire), []);
        } finally {
          await tunnel.ours.down({ all: true, force: true });
          command(`ip -n ${OURS.namespace} address add ${OURS.address}/24 dev wire`);
          command(`ip -n ${OURS.namespace} address del ${ELSEWHERE}/24 dev wire`);
        }
      },
    ),

  'ESP that is authentic and can be read: NULL': () => withTunnel({ esp: 'null-sha256-x25519' }, (tunnel) => passes(tunnel, {})),

  'ESP that is authentic and can be read: AES-GMAC': () => withTunnel({ esp: 'aes256gmac-x25519' }, (tunnel) => passes(tunnel, {})),
};

interface Expected {
  readonly encap?: boolean;
  readonly esn?: boolean;
  readonly mode?: 'transport';
  readonly protocol?: 'ah' | 'comp';
}

/** Up, echo requests either way, and nothing of them readable. */
async function passes(tunnel: Tunnel, { encap = false, esn = false, mode, protocol = undefined }: Expected): Promise<void> {
  await tunnel.ours.up({ connection: 'net' });
  tunnel.wire.sent();
  const [there, back] = mode === 'transport' ? [HOSTS, HOSTS_BACK] : [{}, {}];
  assert.equal((await tunnel.ping(there)).length, 3);
  assert.equal((await tunnel.pingBack(back)).length, 3);
  const { counters } = onlyChild(tunnel);
  assert.deepEqual([counters?.inbound.packets, counters?.outbound.packets], [6, 6]);
  const states = command(`ip -n ${OURS.namespace} xfrm state`);
  assert.equal(states.includes('espinudp'), encap, states);
  assert.equal(/flag .*esn/.test(states), esn, states);
  assert.ok(states.includes(`mode ${mode ?? 'tunnel'}`), states);
  assert.ok(states.includes(`proto ${protocol ?? 'esp'}`), states);
  assert.deepEqual(echoesIn(tunnel.wire), []);
}

/**
 * Each end in turn, under echo requests either way. All of ours arrive, and nothing that comes is dropped here. What strongSwan sends is its own
 * affair: as responder it deletes an SA before it has the next one, and what its kernel is given in between waits or is lost there.
 */
async function rekeyed(tunnel: Tunnel): Promise<void> {
  const count = 300;
  const [there, back] = onlyChild(tunnel).mode === 'transport' ? [HOSTS, HOSTS_BACK] : [{}, {}];
  const [arrived, dropped] = [echoesAt(THEIRS.namespace, 'InEchos'), dropsAt(OURS.namespace)];
  const flows = [tunnel.ping({ ...there, count, every: 0.02 }), tunnel.pingBack({ ...back, count, every: 0.02 })];
  const spis = [spiOf(tunnel)];
  for (let round = 0; round < 2; round++) {
    await tunnel.ours.rekey({ child: onlyChild(tunnel).id });
    spis.push(await another(tunnel, spis.at(-1)));
    await tunnel.charon.tell('--rekey', '--child', 'net');
    spis.push(await another(tunnel, spis.at(-1)));
  }
  for (const answered of await Promise.all(flows)) assert.ok(answered.length > 0);
  assert.equal(echoesAt(THEIRS.namespace, 'InEchos') - arrived, count);
  assert.equal(dropsAt(OURS.namespace), dropped);
  assert.equal(new Set(spis).size, 5);
}

const installed = ({ ours }: Tunnel) => ours.ikeSas()[0]!.children.filter(({ state }) => state === 'installed');
const onlyChild = (tunnel: Tunnel) => installed(tunnel)[0]!;
const spiOf = (tunnel: Tunnel): number => onlyChild(tunnel).inboundSpi;
const another = (tunnel: Tunnel, former: number | undefined): Promise<number> =>
  eventually(
    'another CHILD_SA has taken over',
    () => installed(tunnel).length === 1 && spiOf(tunnel) !== former && spiOf(tunnel),
    LONG,
    () => tunnel.charon.log(),
  );
/** Milliseconds. */
const LONG = 300_000;
const IN_UDP = { connection: { encap: 'yes' }, theirConnection: { encap: 'yes' } };
const ELSEWHERE = '10.77.0.3';
const LENT = {
  connection: { vips: '0.0.0.0' },
  child: { local_ts: 'dynamic' },
  theirConnection: { pools: 'lent' },
  theirChild: { remote_ts: 'dynamic' },
  theirSections: { pools: { lent: { addrs: '10.3.0.0/24' } } },
};
const BETWEEN_HOSTS = { mode: 'transport', local_ts: 'dynamic', remote_ts: 'dynamic' };
const OF_AH = { esp_proposals: undefined, ah_proposals: 'sha256-x25519' };
const HOSTS = { from: OURS.address, to: THEIRS.address };
const HOSTS_BACK = { from: THEIRS.address, to: OURS.address };

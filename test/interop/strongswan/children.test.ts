import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ChildSaSeen, End } from '../support/end.ts';
import type { Host } from '../support/network.ts';
import { type Pair, startPair } from '../support/pair.ts';
import { eventually, must } from '../support/process.ts';
import { createIdentities, PROPOSALS } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

const [OURS, THEIRS] = ['10.1.0.0/24', '10.2.0.0/24'];
/** Three children between the same networks, told apart by protocol and port (RFC 7296 §3.13.1); `net` is the one for pings. */
const selectors = (local: string, remote: string) => ({
  net: { local_ts: `${local}[icmp]`, remote_ts: `${remote}[icmp]` },
  web: { local_ts: `${local}[tcp]`, remote_ts: `${remote}[tcp/4001]` },
  syslog: { local_ts: `${local}[udp]`, remote_ts: `${remote}[udp/514]` },
});

for (const role of ['initiator', 'responder'] as const) {
  describeWith(STRONGSWAN, `strongSwan: three children by protocol and port in one IKE SA, we are ${role}`, () => {
    const scope = new Scope();
    let pair: Pair;

    beforeAll(async () => {
      const { ike, esp } = PROPOSALS[1]!;
      const ours = selectors(OURS, THEIRS);
      const theirs = {
        net: { local_ts: ours.net.remote_ts, remote_ts: ours.net.local_ts },
        web: { local_ts: ours.web.remote_ts, remote_ts: ours.web.local_ts },
        syslog: { local_ts: ours.syslog.remote_ts, remote_ts: ours.syslog.local_ts },
      };
      const swan = { mode: 'tunnel', esp_proposals: esp, rekey_time: 0 };
      pair = await startPair(scope, {
        role,
        ike,
        esp,
        identities: (folder) => createIdentities(folder, 'psk'),
        ours: {
          child: ours.net,
          children: { web: { ...ours.web, esp_proposals: esp }, syslog: { ...ours.syslog, esp_proposals: esp } },
        },
        theirs: { child: theirs.net, children: { web: { ...swan, ...theirs.web }, syslog: { ...swan, ...theirs.syslog } } },
      });
    });
    afterAll(() => scope.close());

    test('come up, all on one IKE SA, alike at both ends', async () => {
      const { we, peer, initiator } = pair;
      if (initiator === we) await we.initiate();
      else for (const name of ['net', 'web', 'syslog']) await peer.initiate(name);
      await agreed(pair, 'net,syslog,web');
    });

    test('each carries what is its own, and nothing carries the rest', async () => {
      const { we, peer, network } = pair;
      const { left, right } = network;
      await expectPing(we, right.inside);
      await expectPing(peer, left.inside);
      expect(await carried(pair)).toEqual(['net']);
      const { done } = await peer.listen(4001, OCTETS);
      const [ofServer, ofClient] = await Promise.all([done, we.connect(right.inside, 4001, OCTETS)]);
      expect(ofClient).toEqual({ sent: ofServer.received, received: ofServer.sent, octetsReceived: OCTETS });
      expect(await carried(pair)).toEqual(['net', 'web']);
      await datagram(right, 514, left.inside);
      await eventually(
        'syslog carries the datagram',
        async () => (await carried(pair)).join() === 'net,syslog,web',
        15_000,
        () => we.log(),
      );
      const before = await childrenOf(we);
      // nobody answers, and it asks for a minute
      we.connect(right.inside, 4002, 1).catch(() => undefined);
      await sleep(1500);
      expect((await childrenOf(we)).map(({ octetsOut }) => octetsOut)).toEqual(before.map(({ octetsOut }) => octetsOut));
    });

    test.each(['we', 'peer'] as const)('the IKE SA is rekeyed, by %s: all three go with it', async (by) => {
      const { we, network } = pair;
      const before = (await childrenOf(we)).map(({ spiIn }) => spiIn).sort();
      const [{ spiI } = { spiI: '' }] = await we.ikeSas();
      await pair[by].rekeyIke();
      await eventually(
        'another IKE SA stands alone',
        async () => {
          const sas = await we.ikeSas();
          return sas.length === 1 && sas[0]!.spiI !== spiI;
        },
        15_000,
        () => we.log(),
      );
      await agreed(pair, 'net,syslog,web');
      expect((await childrenOf(we)).map(({ spiIn }) => spiIn).sort()).toEqual(before);
      await expectPing(we, network.right.inside);
    });

    test('one is deleted: the others stay', async () => {
      await pair.peer.deleteChild();
      await agreed(pair, 'syslog,web');
    });
  });
}

async function agreed({ we, peer }: Pair, expected: string): Promise<void> {
  await eventually(
    `both ends see ${expected} on one IKE SA`,
    async () => {
      const [ofUs, ofThem] = [await childrenOf(we), await childrenOf(peer)];
      const names = (children: readonly ChildSaSeen[]): string =>
        children
          .map(({ name }) => name)
          .sort()
          .join();
      if (names(ofUs) !== expected || names(ofThem) !== expected) return false;
      return ofUs.every((child) =>
        ofThem.some(({ name, spiIn, spiOut }) => name === child.name && spiIn === child.spiOut && spiOut === child.spiIn),
      );
    },
    15_000,
    () => `${we.log()}\n${peer.log()}`,
  );
}

async function childrenOf(end: End): Promise<readonly ChildSaSeen[]> {
  const sas = await end.ikeSas();
  return sas.length === 1 && sas[0]!.established ? sas[0]!.children.filter(({ installed }) => installed) : [];
}

/** Children of ours through which something came in. */
async function carried({ we }: Pair): Promise<string[]> {
  const children = await childrenOf(we);
  return children.flatMap(({ name, octetsIn }) => (octetsIn > 0 ? [name] : [])).sort();
}

const datagram = ({ namespace, inside }: Host, port: number, to: string): Promise<string> =>
  must('ip', ['netns', 'exec', namespace, process.execPath, '--eval', SENDER, inside, String(port), to]);

const SENDER = `
const [inside, port, to] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
socket.bind(Number(port), inside, () => socket.send('<13>hello', 5000, to, () => socket.close()));`;
const OCTETS = 256 * 1024;

// node relay.js PORT LOSS DELAY
// A path between two hosts on loopback that loses datagrams, and takes so many milliseconds each way. Its answer is where it listens.
import { servingPlatform } from '../../../src/host/platform/system.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { UdpRelay } from '../../../src/testing/udp-relay.ts';
import { answering } from '../../interop/support/dialogue.ts';

const [target, loss, delay] = process.argv.slice(2).map(Number);
// many datagrams in a call, where that can be: it is not the relay that is to be measured
const { udp, clock } = await servingPlatform();
const random = new SeededRandom('path');
const relay = await UdpRelay.open({
  udp,
  clock,
  ip: '127.0.0.1',
  targets: [{ ip: '127.0.0.1', port: target! }],
  random: () => random.fraction(),
});
Object.assign(relay.conditions, { loss, delay });
answering((_: object) => relay.fronts[0]!);

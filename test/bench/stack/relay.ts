// node relay.js PORT LOSS DELAY
// A path between two hosts on loopback that loses datagrams, and takes so many milliseconds each way. Its answer is where it listens.
import { systemClock } from '../../../src/host/platform/clock.ts';
import { systemUdp } from '../../../src/host/platform/udp.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { UdpRelay } from '../../../src/testing/udp-relay.ts';
import { answering } from '../../interop/support/dialogue.ts';

const [target, loss, delay] = process.argv.slice(2).map(Number);
const random = new SeededRandom('path');
const relay = await UdpRelay.open({
  udp: systemUdp,
  clock: systemClock,
  ip: '127.0.0.1',
  targets: [{ ip: '127.0.0.1', port: target! }],
  random: () => random.fraction(),
});
Object.assign(relay.conditions, { loss, delay });
answering((_: object) => relay.fronts[0]!);

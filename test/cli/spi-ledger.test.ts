import { expect, test } from 'vitest';
import { SpiLedger } from '../../src/cli/spi-ledger.ts';
import { ikeSa } from '../product/control/fake-target.ts';

/** An IKE SA whose child with these SPIs has sent and received so many packets of 100 octets. */
function carrying(inboundSpi: number, outboundSpi: number, packets: number) {
  const [child] = ikeSa().children;
  const traffic = { packets, bytes: packets * 100, lastUse: 0 };
  const counters = { inbound: traffic, outbound: traffic, drops: { replay: packets } };
  return ikeSa({ children: [{ ...child!, inboundSpi, outboundSpi, counters }] });
}

test('what SPIs carried since then, those included that are gone', () => {
  const ledger = new SpiLedger([carrying(1, 2, 10)]);
  ledger.look([carrying(1, 2, 15), carrying(3, 4, 1)]);
  ledger.look([carrying(3, 4, 7)]);
  expect(ledger.counts).toEqual([
    { spi: 1, direction: 'in', packets: 5, bytes: 500, dropped: 5 },
    { spi: 2, direction: 'out', packets: 5, bytes: 500, dropped: 0 },
    { spi: 3, direction: 'in', packets: 7, bytes: 700, dropped: 7 },
    { spi: 4, direction: 'out', packets: 7, bytes: 700, dropped: 0 },
  ]);
});

test('a child that cannot be counted is left out', () => {
  const [child] = ikeSa().children;
  const ledger = new SpiLedger();
  ledger.look([ikeSa({ children: [{ ...child!, counters: undefined }] })]);
  expect(ledger.counts).toEqual([]);
});

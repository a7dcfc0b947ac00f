import { expect, test } from 'vitest';
import { isSound, sendHostile } from '../host/dataplane/hostile-packets.ts';

/** `npm run fuzz SECONDS packets`: a million of each kind, or what TUNNELWRIGHT_FUZZ_PACKETS says. Others are left out when a target is named. */
const wanted = process.env.TUNNELWRIGHT_FUZZ_TARGET ?? '';
const perKind = Number(process.env.TUNNELWRIGHT_FUZZ_PACKETS ?? 1_000_000);
const seed = Number(process.env.TUNNELWRIGHT_FUZZ_SEED ?? Date.now() % 2 ** 32);

test.runIf('packets'.includes(wanted.toLowerCase()))('hostile packets against the data plane', () => {
  const results = sendHostile(perKind, seed);
  for (const { kind, sent, drops, forwarded } of results)
    console.log(`${kind}: ${sent} sent, ${forwarded} forwarded, dropped ${JSON.stringify(drops)}, seed ${seed}`);
  expect(results.filter((result) => !isSound(result))).toEqual([]);
});

import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { End, IkeSaSeen } from './end.ts';
import { eventually, PATIENCE } from './process.ts';

export const TRANSFER_OCTETS = 20 * 1024 * 1024;
/**
 * Milliseconds. An IKE SA of ours that was replaced waits a minute for a Delete, and none comes from a peer whose own rekeying was overtaken by
 * ours: it gives that up, and the old IKE SA with it.
 */
export const UNTIL_SETTLED = 3 * PATIENCE;

/** Both ends agree that there is exactly one IKE SA with one child, with the same SPIs. Gives what the first end sees that tells the SPIs of both. */
export async function agreedSa(a: End, b: End): Promise<IkeSaSeen> {
  return eventually(
    'both ends see one IKE SA with one child',
    async () => {
      const [ofA, ofB] = [await a.ikeSas(), await b.ikeSas()];
      const agreed = ofA.length === 1 && ofB.length === 1 && isUp(ofA[0]!) && isUp(ofB[0]!) && sameSpis(ofA[0]!, ofB[0]!);
      return agreed ? (ofA[0]!.spiI === '' ? ofB[0]! : ofA[0]!) : undefined;
    },
    UNTIL_SETTLED,
    () => `${a.log()}\n${b.log()}`,
  );
}

/** Neither end holds anything any more. */
export async function bothClean(a: End, b: End): Promise<void> {
  await eventually(
    'both ends are clean',
    async () => (await a.ikeSas()).length + (await b.ikeSas()).length === 0,
    UNTIL_SETTLED,
    () => `${a.log()}\n${b.log()}`,
  );
}

/** Both ends keep the IKE SA, and neither has a child. */
export async function childless(a: End, b: End): Promise<void> {
  await eventually(
    'both ends see one IKE SA without a child',
    async () => {
      const both = [...(await a.ikeSas()), ...(await b.ikeSas())];
      return both.length === 2 && both.every((sa) => sa.established && sa.children.length === 0);
    },
    PATIENCE,
    () => `${a.log()}\n${b.log()}`,
  );
}

export async function expectPing(from: End, to: string): Promise<void> {
  expect(await from.ping(to, 3), `${from.name} pings ${to}\n${from.log()}`).toBe(3);
}

/** 20 MB each way at once over one TCP connection; what arrives is what was sent. */
export async function expectTransfer(server: End, client: End, serverAddress: string, port: number): Promise<void> {
  const { done } = await server.listen(port, TRANSFER_OCTETS);
  const [ofServer, ofClient] = await Promise.all([done, client.connect(serverAddress, port, TRANSFER_OCTETS)]);
  expect(ofClient).toEqual({ sent: ofServer.received, received: ofServer.sent, octetsReceived: TRANSFER_OCTETS });
  expect(ofServer.octetsReceived).toBe(TRANSFER_OCTETS);
}

/** One child takes the other's place: other SPIs, same IKE SA, and the old child is gone from both ends. */
export async function expectChildRekey(by: End, other: End): Promise<void> {
  const before = await agreedSa(by, other);
  await by.rekeyChild();
  const after = await changed(by, other, (sa) => sa.children[0]!.spiIn !== before.children[0]!.spiIn);
  expect([after.spiI, after.spiR]).toEqual([before.spiI, before.spiR]);
  expect(after.children[0]!.spiOut).not.toBe(before.children[0]!.spiOut);
}

/** Another IKE SA takes over, and the child moves to it untouched (RFC 7296 §2.8). */
export async function expectIkeRekey(by: End, other: End): Promise<void> {
  const before = await agreedSa(by, other);
  await by.rekeyIke();
  const after = await changed(by, other, (sa) => sa.spiI !== before.spiI);
  expect(after.spiR).not.toBe(before.spiR);
  expect(after.children.map((child) => [child.spiIn, child.spiOut])).toEqual(before.children.map((child) => [child.spiIn, child.spiOut]));
}

/** Both ends still agree after a while in which nothing but liveness checks passed. */
export async function expectAlive(a: End, b: End, milliseconds: number): Promise<void> {
  const before = await agreedSa(a, b);
  await sleep(milliseconds);
  const after = await agreedSa(a, b);
  expect([after.spiI, after.spiR]).toEqual([before.spiI, before.spiR]);
}

async function changed(a: End, b: End, isNew: (sa: IkeSaSeen) => boolean): Promise<IkeSaSeen> {
  return eventually(
    'both ends see the new SA alone',
    async () => {
      const sa = await agreedSa(a, b);
      return isNew(sa) ? sa : undefined;
    },
    PATIENCE,
    () => `${a.log()}\n${b.log()}`,
  );
}

const isUp = (sa: IkeSaSeen): boolean => sa.established && sa.children.length === 1 && sa.children[0]!.installed;

function sameSpis(a: IkeSaSeen, b: IkeSaSeen): boolean {
  const [childA, childB] = [a.children[0]!, b.children[0]!];
  const sameIkeSa = a.spiI === '' || b.spiI === '' || (a.spiI === b.spiI && a.spiR === b.spiR);
  return sameIkeSa && childA.spiIn === childB.spiOut && childA.spiOut === childB.spiIn;
}

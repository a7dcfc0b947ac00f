import { describe, expect, test } from 'vitest';
import { checksum, fragmentIpv4, getU16, IpView, ipv4HeaderValid, putU16, setTrafficClass } from '../../../src/core/packet/index.ts';
import { packet } from '../../host/support/packets.ts';

const A = '10.0.0.1';
const B = '10.0.1.1';

function parsed(data: Uint8Array): IpView {
  const view = new IpView();
  if (!view.parse(data)) throw new Error(`not a packet: ${view.fault}`);
  return view;
}

function cut(data: Uint8Array, mtu: number): Uint8Array[] | undefined {
  const pieces: Uint8Array[] = [];
  return fragmentIpv4(parsed(data), mtu, (piece) => pieces.push(piece)) ? pieces : undefined;
}

/** What a receiver makes of the pieces, whatever order they come in. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const views = pieces.map(parsed).sort((a, b) => a.fragmentOffset - b.fragmentOffset);
  let at = 0;
  for (const view of views) {
    expect(view.fragmentOffset).toBe(at);
    at += view.end - view.payload;
  }
  return Uint8Array.from(views.flatMap((view) => [...view.data.subarray(view.payload, view.end)]));
}

/** With options behind the header: one to be copied into each piece, one that is not, and an odd octet of padding. */
function withOptions(size: number): Uint8Array {
  const plain = packet(A, B, { size });
  const options = Uint8Array.of(0x94, 4, 0, 0, 0x07, 7, 4, 0, 0, 0, 0, 1);
  const data = new Uint8Array(plain.length + options.length);
  data.set(plain.subarray(0, 20));
  data.set(options, 20);
  data.set(plain.subarray(20), 20 + options.length);
  data[0] = 0x48;
  putU16(data, 2, data.length);
  putU16(data, 10, 0);
  putU16(data, 10, checksum(data, 0, 32));
  return data;
}

describe('an IPv4 packet that is cut', () => {
  test.each([68, 100, 576, 1279, 1280, 1400])('fits an MTU of %i and is whole again at the other end', (mtu) => {
    for (const size of [mtu + 1, 1500, 3000, 65_535]) {
      const data = packet(A, B, { size });
      const pieces = cut(data, mtu)!;
      for (const piece of pieces) {
        expect(piece.length).toBeLessThanOrEqual(mtu);
        expect(ipv4HeaderValid(parsed(piece))).toBe(true);
        expect(getU16(piece, 4)).toBe(getU16(data, 4));
      }
      expect(pieces.map((piece) => parsed(piece).moreFragments)).toEqual(pieces.map((_, i) => i < pieces.length - 1));
      expect(Buffer.compare(joined(pieces), data.subarray(20))).toBe(0);
    }
  });

  test('gives each piece the options that are to be copied, and the first one all of them', () => {
    const pieces = cut(withOptions(400), 100)!;
    expect([...pieces[0]!.subarray(20, 32)]).toEqual([0x94, 4, 0, 0, 0x07, 7, 4, 0, 0, 0, 0, 1]);
    for (const piece of pieces.slice(1)) {
      expect([piece[0], [...piece.subarray(20, 24)]]).toEqual([0x46, [0x94, 4, 0, 0]]);
      expect(ipv4HeaderValid(parsed(piece))).toBe(true);
    }
    expect(joined(pieces).length).toBe(380);
  });

  test('may be a piece itself: offsets and the last flag go on', () => {
    const again = cut(packet(A, B, { size: 1020 }), 520)!.flatMap((piece) => cut(piece, 200)!);
    expect(joined(again).length).toBe(1000);
    expect(again.map((piece) => parsed(piece).moreFragments).lastIndexOf(true)).toBe(again.length - 2);
  });

  test('is not cut where no piece has room', () => {
    expect(cut(packet(A, B, { size: 100 }), 27)).toBeUndefined();
    expect(cut(withOptions(400), 39)).toBeUndefined();
  });

  test('does not mind options whose lengths lie', () => {
    for (const lie of [0, 1, 255]) {
      const data = withOptions(400);
      data[21] = lie;
      const pieces = cut(data, 100)!;
      expect(joined(pieces).length).toBe(380);
    }
  });
});

describe('the traffic class', () => {
  test.each([packet(A, B), packet('fd00::1', 'fd00::2')])('is written in place, IPv4 with its checksum', (data) => {
    for (const trafficClass of [0, 1, 0xb8, 0xff, 0x2b]) {
      const view = parsed(data);
      setTrafficClass(view, trafficClass);
      const again = parsed(data);
      expect([view.trafficClass, again.trafficClass]).toEqual([trafficClass, trafficClass]);
      if (again.version === 4) expect(ipv4HeaderValid(again)).toBe(true);
    }
  });
});

import { describe, expect, test } from 'vitest';
import { formatIp, parseIp } from '../../../src/core/bytes/index.ts';
import { IcmpView, IpView, ipv4HeaderValid } from '../../../src/core/packet/index.ts';
import { mayPassOn, takeHop, timeExceeded } from '../../../src/host/dataplane/forwarding.ts';
import { echoRequest, packet } from '../support/packets.ts';

function parsed(data: Uint8Array): IpView {
  const view = new IpView();
  expect(view.parse(data)).toBe(true);
  return view;
}

const addressesOf = (data: Uint8Array): [string, string] => {
  const view = parsed(data);
  const at = (offset: number): string => formatIp(data.slice(offset, offset + view.addressLength));
  return [at(view.sourceAt), at(view.destinationAt)];
};

describe('a hop', () => {
  test.each([
    ['10.0.0.1', '10.0.1.1'],
    ['fd00::1', 'fd00::2'],
  ])('is taken off, and the rest stays as it is (%s)', (from, to) => {
    for (let hopLimit = 255; hopLimit > 1; hopLimit -= 23) {
      const data = packet(from, to, { hopLimit });
      expect(takeHop(parsed(data))).toBe(true);
      const after = parsed(data);
      expect(after.hopLimit).toBe(hopLimit - 1);
      if (after.version === 4) expect(ipv4HeaderValid(after)).toBe(true);
      expect(data.subarray(after.payload)).toEqual(packet(from, to, { hopLimit }).subarray(after.payload));
    }
  });

  test.each([0, 1])('a packet with %i left ends here, unchanged', (hopLimit) => {
    const data = packet('10.0.0.1', '10.0.1.1', { hopLimit });
    const before = data.slice();
    expect(takeHop(parsed(data))).toBe(false);
    expect(data).toEqual(before);
  });
});

describe('the answer to a packet whose hops ran out', () => {
  test.each([
    ['10.0.0.1', '10.0.1.1', '10.66.0.1', 11],
    ['fd00::1', 'fd00::2', 'fd66::1', 3],
  ])('quotes it and goes back to its sender (%s)', (from, to, own, type) => {
    const data = packet(from, to, { hopLimit: 1, size: 100 });
    const answer = timeExceeded(parsed(data), parseIp(own))!;
    expect(addressesOf(answer)).toEqual([own, from]);
    const view = parsed(answer);
    if (view.version === 4) expect(ipv4HeaderValid(view)).toBe(true);
    const icmp = new IcmpView();
    expect(icmp.parse(view)).toBe(true); // the checksum holds
    expect([icmp.type, icmp.code, icmp.rest]).toEqual([type, 0, 0]);
    expect(answer.subarray(icmp.start, icmp.end)).toEqual(data);
  });

  test('is no longer than a link must carry', () => {
    expect(timeExceeded(parsed(packet('10.0.0.1', '10.0.1.1', { size: 1400 })), parseIp('10.66.0.1'))!.length).toBe(576);
    expect(timeExceeded(parsed(packet('fd00::1', 'fd00::2', { size: 1400 })), parseIp('fd66::1'))!.length).toBe(1280);
  });

  test('an error is never answered with an error, an echo request is', () => {
    const error = timeExceeded(parsed(packet('10.0.0.1', '10.0.1.1')), parseIp('10.66.0.1'))!;
    expect(timeExceeded(parsed(error), parseIp('10.66.0.9'))).toBeUndefined();
    const error6 = timeExceeded(parsed(packet('fd00::1', 'fd00::2')), parseIp('fd66::1'))!;
    expect(timeExceeded(parsed(error6), parseIp('fd66::9'))).toBeUndefined();
    expect(timeExceeded(parsed(echoRequest('10.0.0.1', '10.0.1.1')), parseIp('10.66.0.1'))).toBeDefined();
    expect(timeExceeded(parsed(packet('10.0.0.1', '10.0.1.1', { fragmentOffset: 8 })), parseIp('10.66.0.1'))).toBeUndefined();
  });
});

test.each([
  ['10.0.0.1', '10.0.1.1', true],
  ['fd00::1', '2001:db8::1', true],
  ['10.0.0.1', '224.0.0.1', false],
  ['10.0.0.1', '255.255.255.255', false],
  ['10.0.0.1', '169.254.1.1', false],
  ['127.0.0.1', '10.0.1.1', false],
  ['0.0.0.0', '10.0.1.1', false],
  ['fe80::1', '2001:db8::1', false],
  ['fd00::1', 'ff02::1', false],
  ['::', 'fd00::1', false],
])('%s to %s may be passed on: %s', (from, to, expected) => {
  expect(mayPassOn(parsed(packet(from, to)))).toBe(expected);
});

import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { ERRNO, nativeLack } from '../../../../../src/host/platform/linux/ffi.ts';
import { listAddresses } from '../../../../../src/host/platform/linux/netlink/addresses.ts';
import { MessageWriter, NLM_F, NLMSG } from '../../../../../src/host/platform/linux/netlink/codec.ts';
import { HostReader, HostWriter } from '../../../../../src/host/platform/linux/netlink/host-order.ts';
import type { Libc } from '../../../../../src/host/platform/linux/netlink/libc.ts';
import { listLinks } from '../../../../../src/host/platform/linux/netlink/links.ts';
import { NetlinkSocket } from '../../../../../src/host/platform/linux/netlink/socket.ts';

const DO_IT = { attempt: 'do it' };

describe('a request', () => {
  test('is answered by what comes before its ACK', () => {
    const { socket, sent } = kernel((sequence) => [message(0x18, 0, sequence, 7), ack(sequence)]);
    expect(socket.request(new MessageWriter(0x1a), DO_IT).map(({ type, body }) => [type, number(body)])).toEqual([[0x18, 7]]);
    expect(number(sent[0]!.subarray(4)) >>> 16).toBe(NLM_F.REQUEST | NLM_F.ACK);
  });

  test('is not answered by what was meant for another', () => {
    const { socket } = kernel((sequence) => [
      message(0x18, 0, sequence - 1, 1),
      ack(sequence - 1, -1),
      message(0x18, 0, sequence, 2),
      ack(sequence),
    ]);
    socket.request(new MessageWriter(0x1a), DO_IT);
    expect(socket.request(new MessageWriter(0x1a), DO_IT).map(({ body }) => number(body))).toEqual([2]);
  });

  test('is not answered by another process', () => {
    const { socket } = kernel((sequence) => [{ from: 4711, data: ack(sequence, -1) }, ack(sequence)]);
    expect(socket.request(new MessageWriter(0x1a), DO_IT)).toEqual([]);
  });

  test('that is refused leaves nothing of itself or of the answer', () => {
    const { socket, buffers } = kernel((sequence) => [message(0x10, 0, sequence, 0x5a5a5a5a), ack(sequence, -ERRNO.EPERM)]);
    const request = new MessageWriter(0x10).bytes(new Uint8Array(20).fill(0x5a));
    const written = request.written();
    expect(() => socket.request(request, DO_IT)).toThrow(expect.objectContaining({ code: 'NOT_PERMITTED', privilege: 'CAP_NET_ADMIN' }));
    expect(new Uint8Array(written.buffer).every((octet) => octet === 0)).toBe(true);
    expect([...buffers].every((buffer) => buffer.every((octet) => octet === 0))).toBe(true);
  });

  test('has an end where nobody answers', () => {
    const { socket } = kernel(() => []);
    expect(() => socket.request(new MessageWriter(0x10), DO_IT)).toThrow(expect.objectContaining({ code: 'NETLINK_TIMEOUT' }));
  });

  test('has an end where signals never do', () => {
    const { socket, libc } = kernel(() => []);
    libc.poll = () => -1;
    libc.errno = () => ERRNO.EINTR;
    expect(() => socket.request(new MessageWriter(0x10), DO_IT)).toThrow(expect.objectContaining({ code: 'NETLINK_TIMEOUT' }));
  });

  test('that could not be answered whole is not taken for answered', () => {
    const { socket } = kernel(() => [new Uint8Array(300 * 1024)]);
    expect(() => socket.request(new MessageWriter(0x10), DO_IT)).toThrow(expect.objectContaining({ code: 'NETLINK_OVERRUN' }));
  });

  test('that cannot be sent says so', () => {
    const { socket, libc } = kernel(() => []);
    libc.sendto = () => -1;
    libc.errno = () => ERRNO.ENOBUFS;
    expect(() => socket.request(new MessageWriter(0x10), DO_IT)).toThrow(
      expect.objectContaining({ code: 'KERNEL_REFUSED', errno: 'ENOBUFS' }),
    );
  });

  test('after the end is refused', () => {
    const { socket, closed } = kernel((sequence) => [ack(sequence)]);
    socket.close();
    socket.close();
    expect(closed).toEqual([FD]);
    expect(() => socket.request(new MessageWriter(0x10), DO_IT)).toThrow(expect.objectContaining({ code: 'NETLINK_CLOSED' }));
  });
});

describe('a dump', () => {
  test('goes over several datagrams to its end', () => {
    const { socket, sent } = kernel((sequence) => [
      joined(message(0x10, NLM_F.MULTI, sequence, 1), message(0x10, NLM_F.MULTI, sequence, 2)),
      message(0x10, NLM_F.MULTI, sequence, 3),
      message(NLMSG.DONE, NLM_F.MULTI, sequence, 0),
    ]);
    expect(socket.dump(new MessageWriter(0x12), DO_IT).map(({ body }) => number(body))).toEqual([1, 2, 3]);
    expect(number(sent[0]!.subarray(4)) >>> 16).toBe(NLM_F.REQUEST | NLM_F.DUMP);
  });

  test('of a table that changed meanwhile is made again, but not for ever', () => {
    let [round, last] = [0, 3];
    const { socket } = kernel((sequence) => {
      const interrupted = ++round < last ? NLM_F.DUMP_INTR : 0;
      return [message(0x10, NLM_F.MULTI | interrupted, sequence, round), message(NLMSG.DONE, NLM_F.MULTI | interrupted, sequence, 0)];
    });
    expect(socket.dump(new MessageWriter(0x12), DO_IT).map(({ body }) => number(body))).toEqual([3]);
    [round, last] = [0, 1000];
    expect(socket.dump(new MessageWriter(0x12), DO_IT).map(({ body }) => number(body))).toEqual([4]);
  });

  test('that failed at its end is no list', () => {
    const { socket } = kernel((sequence) => [
      message(0x10, NLM_F.MULTI, sequence, 1),
      message(NLMSG.DONE, NLM_F.MULTI, sequence, -ERRNO.ENOMEM),
    ]);
    expect(() => socket.dump(new MessageWriter(0x12), DO_IT)).toThrow(expect.objectContaining({ errno: 'ENOMEM' }));
  });
});

describe.skipIf((await nativeLack()) !== undefined)('this machine', () => {
  test('has the links and addresses that Node knows, which nobody needs a privilege to see', async () => {
    const socket = await NetlinkSocket.open('route');
    try {
      const names = new Map(listLinks(socket).map(({ index, name }) => [index, name]));
      const seen = listAddresses(socket).map(({ ip, link, prefixLength }) => `${names.get(link)} ${ip}/${prefixLength}`);
      const known = Object.entries(networkInterfaces()).flatMap(([name, list = []]) => list.map(({ cidr }) => `${name} ${cidr}`));
      expect(seen).toEqual(expect.arrayContaining(known));
      expect([...names.values()]).toContain('lo');
    } finally {
      socket.close();
    }
  });

  test('says of a namespace that is not there that it is not', async () => {
    await expect(NetlinkSocket.open('route', { namespace: '/run/netns/no-such-namespace' })).rejects.toMatchObject({
      message: expect.stringContaining('/run/netns/no-such-namespace'),
      code: 'NO_NAMESPACE',
      errno: 'ENOENT',
    });
  });
});

type Datagram = Uint8Array | { readonly from: number; readonly data: Uint8Array };

/** A socket whose kernel answers as it is told, by the sequence number of each request. */
function kernel(answer: (sequence: number) => readonly Datagram[]) {
  const [sent, waiting, closed, buffers]: [Uint8Array[], Datagram[], number[], Set<Uint8Array>] = [[], [], [], new Set()];
  const libc = {
    sendto: (_fd: number, data: Uint8Array, length: number) => {
      sent.push(data.slice());
      waiting.push(...answer(number(data.subarray(8))));
      return length;
    },
    poll: (): number => (waiting.length > 0 ? 1 : 0),
    recvfrom: (_fd: number, data: Uint8Array, _length: number, _flags: number, from: Uint8Array) => {
      const next = waiting.shift()!;
      const [port, octets] = next instanceof Uint8Array ? [0, next] : [next.from, next.data];
      buffers.add(data);
      data.set(octets.subarray(0, data.length));
      from.set(new HostWriter().u32(port).written(), 4);
      return octets.length;
    },
    errno: (): number => ERRNO.EAGAIN,
    close: (fd: number) => closed.push(fd),
  };
  return { socket: new NetlinkSocket(libc as unknown as Libc, FD), libc, sent, closed, buffers };
}

const message = (type: number, flags: number, sequence: number, value: number): Uint8Array =>
  new HostWriter().u32(20).u16(type).u16(flags).u32(sequence).u32(0).u32(value).written();

/** The header of the request stands behind the errno. */
const ack = (sequence: number, errno = 0): Uint8Array =>
  new HostWriter().u32(36).u16(NLMSG.ERROR).u16(NLM_F.CAPPED).u32(sequence).u32(0).u32(errno).zero(16).written();

const joined = (...parts: readonly Uint8Array[]): Uint8Array =>
  parts.reduce((writer, part) => writer.bytes(part), new HostWriter()).written();

const number = (body: Uint8Array): number => new HostReader(body, 'test').u32();
const FD = 99;

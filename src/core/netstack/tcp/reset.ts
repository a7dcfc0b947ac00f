import { IpProtocol, type IpView, sealTcp, TCP_HEADER, TcpFlag, type TcpView, writeIpv4, writeIpv6, writeTcp } from '../../packet/index.ts';
import { DEFAULT_HOP_LIMIT, type IpOutput } from '../ip-output.ts';
import { seqAdd } from './seq.ts';
import type { Tcb } from './tcb.ts';

/** `<SEQ=seq><CTL=RST>` for a connection (RFC 9293 §3.10.5, §3.10.7). */
export function resetFor(tcb: Tcb, seq: number, output: IpOutput): void {
  push(output, tcb.localIp, tcb.remoteIp, tcb.local.port, tcb.remote.port, seq, 0, TcpFlag.RST);
}

/** The answer to a segment that belongs to no connection (RFC 9293 §3.10.7.1). The caller has made sure that it is no RST. */
export function resetAnswer(ip: IpView, segment: TcpView, output: IpOutput): void {
  const local = ip.data.subarray(ip.destinationAt, ip.destinationAt + ip.addressLength);
  const remote = ip.data.subarray(ip.sourceAt, ip.sourceAt + ip.addressLength);
  const acknowledges = (segment.flags & TcpFlag.ACK) !== 0;
  const seq = acknowledges ? segment.ack : 0;
  const ack = acknowledges ? 0 : seqAdd(segment.seq, segment.length);
  const flags = acknowledges ? TcpFlag.RST : TcpFlag.RST | TcpFlag.ACK;
  push(output, local, remote, segment.destinationPort, segment.sourcePort, seq, ack, flags);
}

/** The answer to a SYN that was held back and is not welcome (RFC 9293 §3.5.2). */
export function resetSyn(tcb: Tcb, output: IpOutput): void {
  push(output, tcb.localIp, tcb.remoteIp, tcb.local.port, tcb.remote.port, 0, seqAdd(tcb.irs, 1), TcpFlag.RST | TcpFlag.ACK);
}

/** The SYN of such a connection as a packet, as far as an ICMP error has to quote it: its addresses, ports and number. */
export function synOf(tcb: Tcb): Uint8Array {
  const packet = new Uint8Array(tcb.ipHeader + TCP_HEADER);
  const ends = { sourcePort: tcb.remote.port, destinationPort: tcb.local.port };
  writeTcp(packet, tcb.ipHeader, { ...ends, seq: tcb.irs, ack: 0, flags: TcpFlag.SYN, window: 0 }, TCP_HEADER);
  const addresses = { source: tcb.remoteIp, destination: tcb.localIp, hopLimit: DEFAULT_HOP_LIMIT, trafficClass: 0 };
  if (tcb.localIp.length === 16)
    writeIpv6(packet, 0, { ...addresses, payloadLength: TCP_HEADER, nextHeader: IpProtocol.TCP, flowLabel: 0 });
  else {
    const whole = { identification: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0 };
    writeIpv4(packet, 0, { ...addresses, ...whole, length: packet.length, protocol: IpProtocol.TCP });
  }
  return packet;
}

function push(
  output: IpOutput,
  source: Uint8Array,
  destination: Uint8Array,
  sourcePort: number,
  destinationPort: number,
  seq: number,
  ack: number,
  flags: number,
): void {
  const segment = new Uint8Array(TCP_HEADER);
  writeTcp(segment, 0, { sourcePort, destinationPort, seq, ack, flags, window: 0 }, TCP_HEADER);
  sealTcp(segment, 0, TCP_HEADER, source, destination);
  output.push(segment, { source, destination, protocol: IpProtocol.TCP, hopLimit: DEFAULT_HOP_LIMIT, dontFragment: true, mtu: 1280 });
}

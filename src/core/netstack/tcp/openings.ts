import { type Address, ApiMisuse, formatAddress, formatIp } from '../../bytes/index.ts';
import { type IpView, putU16, TcpFlag, type TcpView } from '../../packet/index.ts';
import { Bindings } from '../bindings.ts';
import type { IpOutput } from '../ip-output.ts';
import { KeyedHash } from '../keyed-hash.ts';
import { EphemeralPorts } from '../ports.ts';
import { type Millis, Ready, type ReadyQueue } from '../ready.ts';
import type { TcpConnection } from './connection.ts';
import type { FlowKey, FlowTable } from './flow-table.ts';
import { Knock } from './knock.ts';
import { TcpListener } from './listener.ts';
import { openActive, openPassive } from './receive.ts';
import { resetAnswer } from './reset.ts';
import { seqAdd, seqGt, seqMax } from './seq.ts';
import { Tcb, type TcpEnds, type TcpHost } from './tcb.ts';
import { fail, transition } from './transition.ts';

export interface OpeningsOptions {
  readonly host: TcpHost;
  readonly flows: FlowTable;
  readonly output: IpOutput;
  readonly ready: ReadyQueue;
  /** Takes over what is known of the path. */
  readonly sizePath: (tcb: Tcb) => void;
  /** 48 octets. */
  readonly secret: Uint8Array;
}

/** How connections begin: by OPEN of either kind (RFC 9293 §3.10.1), and by the SYNs that find a listener; their ports and first sequence numbers. */
export class Openings {
  readonly #host: TcpHost;
  readonly #flows: FlowTable;
  readonly #output: IpOutput;
  readonly #ready: ReadyQueue;
  readonly #sizePath: (tcb: Tcb) => void;
  readonly #listeners = new Bindings<TcpListener>();
  readonly #issHash: KeyedHash;
  readonly #tsHash: KeyedHash;
  readonly #ports: EphemeralPorts;
  readonly #key: FlowKey = { data: new Uint8Array(0), length: 4, localAt: 0, localPort: 0, remoteAt: 0, remotePort: 0 };

  constructor({ host, flows, output, ready, sizePath, secret }: OpeningsOptions) {
    this.#host = host;
    this.#flows = flows;
    this.#output = output;
    this.#ready = ready;
    this.#sizePath = sizePath;
    this.#issHash = new KeyedHash(secret.subarray(0, 16));
    this.#tsHash = new KeyedHash(secret.subarray(16, 32));
    this.#ports = new EphemeralPorts(new KeyedHash(secret.subarray(32, 48)));
  }

  /** @throws ApiMisuse EADDRNOTAVAIL, EADDRINUSE, or EMFILE when there are too many connections. */
  connect(localIp: Uint8Array, localPort: number, remoteIp: Uint8Array, remotePort: number, timeout: Millis): TcpConnection {
    if (this.#flows.size >= this.#host.config.maxConnections) throw new ApiMisuse('too many connections', { code: 'EMFILE' });
    const port = localPort !== 0 ? localPort : this.#choosePort(localIp, remoteIp, remotePort);
    const old = this.#find(localIp, port, remoteIp, remotePort);
    if (old !== undefined && !canReopen(old)) {
      throw new ApiMisuse(`${formatIp(localIp)} port ${port} is connected to that address already`, { code: 'EADDRINUSE' });
    }
    let iss = this.#initialSequence(localIp, port, remoteIp, remotePort);
    if (old !== undefined) {
      // RFC 9293 §3.4.3: beyond whatever the old connection used.
      iss = seqMax(iss, seqAdd(old.sndNxt, MAX_WINDOW));
      transition(old, 'CLOSED');
    }
    const tcb = this.#create(localIp, port, remoteIp, remotePort, true);
    this.#host.counters.tcpActiveOpens++;
    openActive(tcb, iss, timeout);
    return tcb.connection;
  }

  /** @throws ApiMisuse EADDRINUSE */
  listen(local: Address, anyPort: boolean, backlog: number, asks: boolean): TcpListener {
    const listener = new TcpListener(local, anyPort, backlog, asks, (closing) => this.#unlisten(closing));
    this.#listeners.add(listener);
    return listener;
  }

  /** A port for a listener. */
  freePort(ip: Uint8Array, wildcard: boolean): number | undefined {
    return this.#ports.choose(ip, (port) => this.#listeners.isFree(ip, wildcard, port));
  }

  /** A segment of no connection: RFC 9293 §3.10.7.1 and §3.10.7.2. @param iss the least initial sequence number, after a connection in TIME-WAIT. */
  arriveInListen(ip: IpView, segment: TcpView, iss?: number): void {
    if ((segment.flags & TcpFlag.RST) !== 0) return;
    const listener = this.#listeners.find(ip.data, ip.destinationAt, ip.addressLength, segment.destinationPort);
    if (listener === undefined || (segment.flags & TcpFlag.ACK) !== 0) {
      resetAnswer(ip, segment, this.#output);
      this.#host.counters.tcpResetsOut++;
      return;
    }
    if ((segment.flags & TcpFlag.SYN) === 0) return;
    if (listener.full || this.#flows.size >= this.#host.config.maxConnections) {
      this.#host.counters.tcpBacklogFull++;
      const { stale } = listener;
      if (stale === undefined) return;
      fail(stale, 'ECONNABORTED');
    }
    const localIp = new Uint8Array(ip.data.subarray(ip.destinationAt, ip.destinationAt + ip.addressLength));
    const remoteIp = new Uint8Array(ip.data.subarray(ip.sourceAt, ip.sourceAt + ip.addressLength));
    const tcb = this.#create(localIp, segment.destinationPort, remoteIp, segment.sourcePort, false);
    tcb.listener = listener;
    listener.begin(tcb);
    const fresh = this.#initialSequence(localIp, segment.destinationPort, remoteIp, segment.sourcePort);
    tcb.held = listener.asks;
    openPassive(tcb, iss === undefined ? fresh : seqMax(fresh, iss), segment);
    if (!listener.asks) return;
    listener.hearKnock(new Knock(tcb));
    this.#ready.mark(listener, Ready.KNOCK);
  }

  /** A segment for a connection in TIME-WAIT: a new SYN may begin another one in its place. @returns whether it did. */
  replace(tcb: Tcb, ip: IpView, segment: TcpView): boolean {
    if (!this.#mayReplace(tcb, ip, segment)) return false;
    const from = seqAdd(tcb.sndNxt, MAX_WINDOW);
    transition(tcb, 'CLOSED');
    this.arriveInListen(ip, segment, from);
    return true;
  }

  /** A new SYN to a connection in TIME-WAIT: by its timestamp (RFC 6191 §2), else by its number (RFC 9293 §3.6.1). */
  #mayReplace(tcb: Tcb, ip: IpView, segment: TcpView): boolean {
    if ((segment.flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST)) !== TcpFlag.SYN) return false;
    if (this.#listeners.find(ip.data, ip.destinationAt, ip.addressLength, segment.destinationPort) === undefined) return false;
    if (tcb.timestamps && segment.hasTimestamps && segment.tsVal !== tcb.tsRecent) return seqGt(segment.tsVal, tcb.tsRecent);
    return seqGt(segment.seq, tcb.rcvNxt);
  }

  #create(localIp: Uint8Array, localPort: number, remoteIp: Uint8Array, remotePort: number, active: boolean): Tcb {
    const ends: TcpEnds = {
      local: { ip: formatIp(localIp), port: localPort },
      remote: { ip: formatIp(remoteIp), port: remotePort },
      localIp,
      remoteIp,
      active,
    };
    const tcb = new Tcb(this.#host, ends, this.#tsHash.hash(endsKey(localIp, localPort, remoteIp, remotePort)));
    this.#sizePath(tcb);
    this.#flows.add(tcb);
    return tcb;
  }

  /** RFC 6528 §3: M counts every four microseconds. */
  #initialSequence(localIp: Uint8Array, localPort: number, remoteIp: Uint8Array, remotePort: number): number {
    return (Math.floor(this.#host.now * 250) + this.#issHash.hash(endsKey(localIp, localPort, remoteIp, remotePort))) | 0;
  }

  #choosePort(localIp: Uint8Array, remoteIp: Uint8Array, remotePort: number): number {
    const port = this.#ports.choose(endsKey(localIp, 0, remoteIp, remotePort), (candidate) => {
      if (!this.#listeners.isFree(localIp, false, candidate)) return false;
      return this.#find(localIp, candidate, remoteIp, remotePort) === undefined;
    });
    if (port !== undefined) return port;
    const where = formatAddress({ ip: formatIp(remoteIp), port: remotePort });
    throw new ApiMisuse(`no local port is left for connections to ${where}`, { code: 'EADDRNOTAVAIL' });
  }

  #find(localIp: Uint8Array, localPort: number, remoteIp: Uint8Array, remotePort: number): Tcb | undefined {
    const key = this.#key;
    key.length = localIp.length === 4 ? 4 : 16;
    key.data = endsKey(localIp, localPort, remoteIp, remotePort);
    key.localAt = 0;
    key.localPort = localPort;
    key.remoteAt = key.length;
    key.remotePort = remotePort;
    return this.#flows.find(key);
  }

  #unlisten(listener: TcpListener): void {
    this.#listeners.remove(listener);
    for (const tcb of this.#flows.all()) if (tcb.listener === listener && !tcb.synAcknowledged) tcb.connection.abort();
  }
}

/** A port in TIME-WAIT may be opened again by the side that closed, if timestamps keep old segments out (RFC 6191, RFC 7323 §5). */
const canReopen = (tcb: Tcb): boolean => tcb.state === 'TIME-WAIT' && tcb.timestamps;

/** Both ends in a row. @returns octets that the next call writes anew */
function endsKey(localIp: Uint8Array, localPort: number, remoteIp: Uint8Array, remotePort: number): Uint8Array {
  const { length } = localIp;
  const key = length === 4 ? ENDS_IPV4 : ENDS_IPV6;
  key.set(localIp);
  key.set(remoteIp, length);
  putU16(key, 2 * length, localPort);
  putU16(key, 2 * length + 2, remotePort);
  return key;
}

const ENDS_IPV4 = new Uint8Array(12);
const ENDS_IPV6 = new Uint8Array(36);

/** More than any window can have left under way. */
const MAX_WINDOW = 1 << 30;

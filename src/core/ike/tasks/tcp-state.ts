import type { TunnelwrightError } from '../../bytes/errors.ts';
import { NONE } from '../../bytes/lists.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Path } from '../path.ts';
import type { Connection } from '../policy.ts';

/** What TCP encapsulation knows of an IKE SA and of those that it was rekeyed from, which share this record (RFC 9329). */
export interface TcpLine {
  /** We open streams: we began the first IKE SA of the line, whoever rekeyed it since (RFC 9329 §1.2). */
  readonly originator: boolean;
  /** Why TCP, for who asks; empty where the peer has chosen it. */
  why: string;
  /** Streams of ours that the line is not on any more, or not yet: they are closed when it is settled where it is (§7.1). */
  left: readonly Path[];
  /** A stream is being opened. */
  opening: boolean;
  /** How often in a row opening one has failed. */
  failures: number;
  /** Why the last one could not be opened. */
  failure: TunnelwrightError | undefined;
  /** The IKE SA that asks over the other transport for the same (§5.1), while neither has been answered. */
  rival: IkeSa | undefined;
  /** Begins the same over TCP. */
  startOver: (() => IkeSa) | undefined;
}

export const newTcpLine = (originator: boolean, why = ''): TcpLine => ({
  originator,
  why,
  left: NONE,
  opening: false,
  failures: 0,
  failure: undefined,
  rival: undefined,
  startOver: undefined,
});

/** The facts that outlive a restart; streams do not. */
export interface TcpSnapshot {
  readonly originator: boolean;
  readonly why: string;
}

/** The way to where a peer is, over TCP; port 0 of ours: there is no stream yet. */
export const tcpPathTo = (connection: Connection, localIp: string, remoteIp: string): Path => ({
  local: { ip: localIp, port: 0 },
  remote: { ip: remoteIp, port: connection.remoteTcpPort ?? connection.remoteNatPort },
  encap: true,
  transport: 'tcp',
});

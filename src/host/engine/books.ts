import type { Address } from '../../core/bytes/index.ts';
import type { ChildSaInfo, IkeSaInfo, Millis, Notice } from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import { ChildOwners } from './child-owners.ts';
import { Connected } from './connected.ts';
import type { IkeCore } from './core.ts';
import { Keepalives } from './keepalives.ts';
import { MappingProbes, type ProbeSurroundings } from './mapping-probe.ts';

/** What the engine keeps about SAs by listening to the notices, so that it need not ask the core for all of them at every turn. */
export class Books {
  readonly connected = new Connected();
  readonly keepalives = new Keepalives();
  readonly children = new ChildOwners();
  readonly #infoOf: IkeCore['infoOf'];
  readonly #policyOf: (connection: string) => Pick<Connection, 'natKeepalive' | 'natKeepaliveMost'> | undefined;
  readonly #probes: MappingProbes;

  constructor(
    infoOf: IkeCore['infoOf'],
    policyOf: (connection: string) => Pick<Connection, 'natKeepalive' | 'natKeepaliveMost'> | undefined,
    probing: ProbeSurroundings,
  ) {
    this.#probes = new MappingProbes(probing);
    this.#infoOf = infoOf;
    this.#policyOf = policyOf;
  }

  note(notice: Notice, now: Millis): void {
    switch (notice.kind) {
      case 'ike-state':
        if (notice.connection !== undefined && notice.to !== 'dead') this.connected.add(notice.connection, notice.ikeSa);
        break;
      case 'ike-up':
        if (notice.info.connection !== undefined) this.connected.add(notice.info.connection, notice.ikeSa);
        this.#keepAlive(notice.info, now);
        break;
      case 'ike-rekeyed': {
        const successor = this.#infoOf(notice.to);
        if (successor?.connection !== undefined) this.connected.add(successor.connection, notice.to);
        this.keepalives.drop(notice.from);
        this.#keepAlive(successor, now, notice.from);
        break;
      }
      case 'redirected':
      case 'not-resumed':
      case 'trying-address':
      case 'trying-tcp':
        if (notice.to !== undefined && notice.connection !== undefined) this.connected.add(notice.connection, notice.to);
        break;
      case 'nat':
      case 'moved': {
        // Before an IKE SA stands there is nothing to keep alive; afterwards its addresses have changed (RFC 4555).
        const info = this.#infoOf(notice.ikeSa);
        if (info === undefined || !isUp(info)) break;
        if (notice.kind === 'nat' && notice.remapped === true) this.#probes.distrust(info.id);
        this.#keepAlive(info, now);
        break;
      }
      case 'ike-down':
        this.connected.remove(notice.ikeSa);
        this.keepalives.drop(notice.ikeSa);
        this.#probes.drop(notice.ikeSa);
        break;
      default:
    }
  }

  /** Of the NAT in front of us; undefined without one. */
  keepaliveOf(ikeSa: number): { readonly interval: Millis; readonly measured: boolean } | undefined {
    const interval = this.keepalives.intervalOf(ikeSa);
    const probed = this.#probes.of(ikeSa);
    return interval === undefined ? undefined : { interval: probed?.interval ?? interval, measured: probed?.measured ?? false };
  }

  nextDeadline(): Millis | undefined {
    return earliest(this.keepalives.nextDeadline(), this.#probes.nextDeadline());
  }

  /** @param lastUse when ESP was last sent for a child, @param send a keepalive */
  expire(now: Millis, lastUse: (child: number) => Millis | undefined, send: (local: Address, remote: Address) => void): void {
    if (now < (this.nextDeadline() ?? Number.POSITIVE_INFINITY)) return;
    this.#probes.expire(now);
    // what was measured since is longer: it is soon enough when the shorter time is over
    for (const ikeSa of this.keepalives.tracked) {
      const measured = this.#probes.of(ikeSa);
      if (measured) this.keepalives.adjust(ikeSa, measured.interval);
    }
    this.keepalives.expire(now, (ikeSa) => this.children.lastSent(ikeSa, lastUse), send);
  }

  #keepAlive(info: IkeSaInfo | undefined, now: Millis, from?: number): void {
    if (info === undefined) return;
    const { id, local, remote, natOurs, connection } = info;
    const { natKeepalive: least = 0, natKeepaliveMost: most = least } = this.#policyOf(connection ?? '') ?? {};
    // RFC 9329 §6.6: a NAT keeps streams longer than it keeps mappings of UDP
    if (info.transport === 'tcp') {
      this.#probes.drop(from ?? id);
      return this.keepalives.drop(id);
    }
    if (natOurs && least > 0 && info.mobike?.echoes && info.mobike.decides) this.#probes.track(id, { local, remote, least, most }, from);
    else this.#probes.drop(from ?? id);
    if (natOurs) this.keepalives.track(id, { local, remote, interval: this.#probes.of(id)?.interval ?? least }, now);
    else this.keepalives.drop(id);
  }
}

export function earliest(...times: readonly (Millis | undefined)[]): Millis | undefined {
  let first: Millis | undefined;
  for (const time of times) if (time !== undefined && (first === undefined || time < first)) first = time;
  return first;
}

/** States of an IKE SA (`core/ike/ike-sa-state.ts`) by what they mean for whoever uses it. */
export const isInstalled = ({ state }: ChildSaInfo): boolean => state === 'installed';
export const isUp = ({ state }: IkeSaInfo): boolean => state === 'established' || state === 'rekeying';
export const isBeginning = ({ state }: IkeSaInfo): boolean => state === 'connecting' || state === 'authenticating';
/** It may repeat its last answer still, but is of no use any more. */
export const isGone = ({ state }: IkeSaInfo): boolean => state === 'lingering' || state === 'dead';

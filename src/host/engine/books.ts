import type { IkeSaInfo, Millis, Notice } from '../../core/ike/effects.ts';
import { ChildOwners } from './child-owners.ts';
import { Connected } from './connected.ts';
import type { IkeCore } from './core.ts';
import { Keepalives } from './keepalives.ts';

/** What the engine keeps about SAs by listening to the notices, so that it need not ask the core for all of them at every turn. */
export class Books {
  readonly connected = new Connected();
  readonly keepalives = new Keepalives();
  readonly children = new ChildOwners();
  readonly #infoOf: IkeCore['infoOf'];
  readonly #keepaliveOf: (connection: string) => Millis;

  /** @param keepaliveOf the interval of NAT keepalives of a connection; 0 is off */
  constructor(infoOf: IkeCore['infoOf'], keepaliveOf: (connection: string) => Millis) {
    this.#infoOf = infoOf;
    this.#keepaliveOf = keepaliveOf;
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
        this.#keepAlive(successor, now);
        break;
      }
      case 'redirected':
      case 'not-resumed':
        if (notice.to !== undefined && notice.connection !== undefined) this.connected.add(notice.connection, notice.to);
        break;
      case 'nat':
      case 'moved': {
        // Before an IKE SA stands there is nothing to keep alive; afterwards its addresses have changed (RFC 4555).
        const info = this.#infoOf(notice.ikeSa);
        if (info !== undefined && isUp(info)) this.#keepAlive(info, now);
        break;
      }
      case 'ike-down':
        this.connected.remove(notice.ikeSa);
        this.keepalives.drop(notice.ikeSa);
        break;
      default:
    }
  }

  #keepAlive(info: IkeSaInfo | undefined, now: Millis): void {
    if (info === undefined) return;
    const { id, local, remote, natOurs, connection } = info;
    if (natOurs) this.keepalives.track(id, { local, remote, interval: this.#keepaliveOf(connection ?? '') }, now);
    else this.keepalives.drop(id);
  }
}

/** States of an IKE SA (`core/ike/ike-sa-state.ts`) by what they mean for whoever uses it. */
export const isUp = ({ state }: IkeSaInfo): boolean => state === 'established' || state === 'rekeying';
export const isBeginning = ({ state }: IkeSaInfo): boolean => state === 'connecting' || state === 'authenticating';
/** It may repeat its last answer still, but is of no use any more. */
export const isGone = ({ state }: IkeSaInfo): boolean => state === 'lingering' || state === 'dead';

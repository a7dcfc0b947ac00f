import { unlessMissing } from '../../platform/linux/netlink/errors.ts';
import { changeLink, createLink, deleteLink, type Link, listLinks } from '../../platform/linux/netlink/links.ts';
import type { NetlinkSocket } from '../../platform/linux/netlink/socket.ts';

/**
 * XFRM interfaces: what is routed to one of them fits only policies with its if_id, and what SAs with that if_id receive comes out of it. Those
 * that this plane made are told from those of others by their names, and go when the plane is closed.
 */
export class XfrmInterfaces {
  readonly #netlink: NetlinkSocket;
  readonly #share: number;
  /** By if_id; false for those of others. */
  readonly #links = new Map<number, number | false>();

  constructor(netlink: NetlinkSocket, share: number) {
    this.#netlink = netlink;
    this.#share = share;
  }

  /**
   * The interface of ours with that if_id, made if there is none yet.
   * @returns undefined where somebody else's has it: routes to it are their business
   * @throws DataPlaneError
   */
  ensure(ifId: number): number | undefined {
    const known = this.#links.get(ifId);
    if (known !== undefined) return known === false ? undefined : known;
    const name = nameOf(this.#share, ifId);
    const standing = listLinks(this.#netlink).find((link) => link.ifId === ifId);
    if (standing !== undefined && shareOfInterface(standing) !== this.#share) {
      this.#links.set(ifId, false);
      return undefined;
    }
    const { index } = standing ?? createLink(this.#netlink, { kind: 'xfrm', name, ifId });
    this.#links.set(ifId, index);
    changeLink(this.#netlink, index, { up: true });
    return index;
  }

  /** Removes what a former life left behind and this one has no use for. */
  sweep(leftBehind: ReadonlySet<number>): void {
    const used = new Set(this.#links.values());
    for (const link of listLinks(this.#netlink)) {
      const share = shareOfInterface(link);
      if (share !== undefined && leftBehind.has(share) && !used.has(link.index)) unlessMissing(() => deleteLink(this.#netlink, link.index));
    }
  }

  close(): void {
    for (const index of this.#links.values()) if (index !== false) unlessMissing(() => deleteLink(this.#netlink, index));
    this.#links.clear();
  }
}

/** At most 15 octets. */
const nameOf = (share: number, ifId: number): string => `twx${share}.${ifId.toString(16)}`;

/** Which share of planes made it; undefined for those of other programs. */
function shareOfInterface({ kind, name, ifId }: Link): number | undefined {
  const share = /^twx(\d)\.[0-9a-f]+$/.exec(name)?.[1];
  return kind === 'xfrm' && share !== undefined && name === nameOf(Number(share), ifId ?? 0) ? Number(share) : undefined;
}

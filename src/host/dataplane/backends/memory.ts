import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec } from '../../../core/ike/effects.ts';
import {
  type ChildCounters,
  type DataPlane,
  type DataPlaneOptions,
  defineBackend,
  type ShuntPolicy,
  type TrapPolicy,
} from '../data-plane.ts';

/** What was asked of a memory plane, in order. */
export type MemoryPlaneRecord =
  | { readonly kind: 'install'; readonly spec: ChildSaSpec }
  | { readonly kind: 'update'; readonly child: number; readonly change: ChildSaChange }
  | { readonly kind: 'remove'; readonly child: number };

/**
 * Moves no packets; remembers what it was told. For tests and for the simulator, which ask it which SAs stand and raise observations by
 * hand. A CHILD_SA is described here as the engine left it: addresses, owner and which SA sends.
 */
export class MemoryPlane implements DataPlane {
  readonly backend = 'memory';
  readonly records: MemoryPlaneRecord[] = [];
  readonly packets: Uint8Array[] = [];
  traps: readonly TrapPolicy[] = [];
  shunts: readonly ShuntPolicy[] = [];
  /** Makes the next installs fail with this error. */
  refuse: DataPlaneError | undefined;
  readonly options: DataPlaneOptions;
  readonly #children = new Map<number, ChildSaSpec>();

  constructor(options: DataPlaneOptions) {
    this.options = options;
  }

  /** The CHILD_SAs that stand, in order of installation. */
  get children(): readonly ChildSaSpec[] {
    return [...this.#children.values()];
  }

  install(spec: ChildSaSpec): void {
    if (this.refuse !== undefined) throw this.refuse;
    this.#refuseDuplicate(spec);
    this.records.push({ kind: 'install', spec });
    const copy = { ...spec, inbound: copyKeys(spec.inbound), outbound: copyKeys(spec.outbound) };
    this.#children.set(spec.id, copy);
    if (spec.outboundActive) this.#stopSending(spec.replaces);
  }

  update(child: number, change: ChildSaChange): void {
    const spec = this.#children.get(child);
    if (spec === undefined) return;
    this.records.push({ kind: 'update', child, change });
    if (change.kind === 'activate-outbound') {
      this.#children.set(child, { ...spec, outboundActive: true });
      this.#stopSending(spec.replaces);
    } else if (change.kind === 'stop-outbound') this.#stopSending(child);
    else if (change.kind === 'owner') this.#children.set(child, { ...spec, ikeSa: change.ikeSa });
    else if (change.kind === 'addresses')
      this.#children.set(child, { ...spec, local: change.local, remote: change.remote, encap: change.encap, transport: change.transport });
  }

  remove(child: number): void {
    const spec = this.#children.get(child);
    if (spec === undefined) return;
    this.records.push({ kind: 'remove', child });
    this.#children.delete(child);
    for (const keys of [spec.inbound, spec.outbound]) {
      keys.encryptionKey.fill(0);
      keys.integrityKey.fill(0);
    }
  }

  counters(child: number): ChildCounters | undefined {
    return this.#children.has(child) ? { inbound: NOTHING, outbound: NOTHING, drops: {} } : undefined;
  }

  sequenceNumbers(): undefined {
    return undefined;
  }

  drops(): Readonly<Record<string, number>> {
    return {};
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.traps = traps;
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.shunts = shunts;
  }

  receive(packet: Uint8Array): boolean {
    this.packets.push(packet.slice());
    return true;
  }

  close(): Promise<void> {
    for (const child of [...this.#children.keys()]) this.remove(child);
    return Promise.resolve();
  }

  #refuseDuplicate(spec: ChildSaSpec): void {
    for (const other of this.#children.values()) {
      if (other.id === spec.id || (other.inbound.spi === spec.inbound.spi && other.protocol === spec.protocol)) {
        throw new DataPlaneError(`CHILD_SA ${spec.id} cannot stand beside ${other.id}: same number or same inbound SPI`, {
          code: 'SPI_IN_USE',
          backend: this.backend,
        });
      }
    }
  }

  #stopSending(child: number | undefined): void {
    const former = child === undefined ? undefined : this.#children.get(child);
    if (former !== undefined) this.#children.set(former.id, { ...former, outboundActive: false });
  }
}

export default defineBackend<MemoryPlane>({
  name: 'memory',
  bareEsp: true,
  features: ['kernel', 'bypass'],
  probe: () => Promise.resolve({ ok: true, detail: 'records only, moves no packets' }),
  open: (options) => new MemoryPlane(options),
});

const copyKeys = (keys: ChildSaSpec['inbound']): ChildSaSpec['inbound'] => ({
  ...keys,
  encryptionKey: keys.encryptionKey.slice(),
  integrityKey: keys.integrityKey.slice(),
});

const NOTHING = { packets: 0, bytes: 0, lastUse: undefined } as const;

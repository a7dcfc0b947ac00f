import { median, type Row, row } from '../measure.ts';
import type { Checks } from './checks.ts';
import type { PathName } from './contestant.ts';

/** What `--json FILE` gets. */
export interface Report {
  readonly commit: string;
  readonly node: string;
  /** Of the link. */
  readonly mtu: number;
  /** What our data plane does for every packet meanwhile, as it was seen to before. */
  readonly checks: Checks;
  readonly rows: readonly PlaneRow[];
}

/** Medians of all rounds. */
export interface PlaneRow {
  readonly path: PathName;
  readonly load: Load;
  /** Of the link's devices: segmentation and coalescing. */
  readonly offloads: OnOff;
  readonly direction: Direction;
  readonly streams: number;
  /** Of the payload of TCP or UDP. */
  readonly gbps: number;
  readonly kpps: number;
  /** Processor time of a daemon, the mean of both ends; null where there is none. */
  readonly cpuNsPerPacket: number | null;
  /** Segments in a run; null for UDP. */
  readonly retransmits: number | null;
}

export type Load = 'tcp' | 'udp64' | 'udp1300';
export type OnOff = 'on' | 'off';
export type Direction = 'forward' | 'reverse';

/** One run. */
export interface Sample extends PlaneRow {
  readonly senderLimits: boolean;
}

/** All runs of the same, in the order in which they were made. */
export function grouped(samples: readonly Sample[]): readonly (readonly Sample[])[] {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const key = [sample.load, sample.streams, sample.offloads, sample.direction, sample.path].join();
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  return [...groups.values()];
}

export function rowsOf(samples: readonly Sample[]): readonly PlaneRow[] {
  return grouped(samples).map((runs) => {
    const { path, load, offloads, direction, streams } = runs[0]!;
    const middle = (pick: (run: Sample) => number | null, digits: number): number | null => {
      const values = runs.map(pick).filter((value) => value !== null);
      return values.length === 0 ? null : Number(median(values).toFixed(digits));
    };
    return {
      path,
      load,
      offloads,
      direction,
      streams,
      gbps: middle(({ gbps }) => gbps, 4)!,
      kpps: middle(({ kpps }) => kpps, 2)!,
      cpuNsPerPacket: middle(({ cpuNsPerPacket }) => cpuNsPerPacket, 0),
      retransmits: middle(({ retransmits }) => retransmits, 0),
    };
  });
}

/** For the table: first what passed, then what it cost, then what was sent twice. */
export function tableOf(samples: readonly Sample[]): readonly Row[] {
  const groups = grouped(samples);
  const rows = (note: string, unit: (load: Load) => string, pick: (sample: Sample) => number | null): Row[] =>
    groups.flatMap((runs) => {
      const values = runs.map(pick).filter((value) => value !== null);
      return values.length === 0 ? [] : [row(`${titleOf(runs[0]!)}${note}`, runs[0]!.path, unit(runs[0]!.load), values)];
    });
  return [
    ...rows(
      '',
      (load) => (load === 'tcp' ? 'Gbit/s' : 'kpps'),
      ({ load, gbps, kpps }) => (load === 'tcp' ? gbps : kpps),
    ),
    ...rows(
      ', a daemon’s processor',
      () => 'ns/packet',
      ({ cpuNsPerPacket }) => cpuNsPerPacket,
    ),
    ...rows(
      ', sent again',
      () => 'segments',
      ({ retransmits }) => retransmits,
    ),
  ];
}

export const loadTitle = (load: Load, streams: number): string =>
  load === 'tcp' ? `TCP, ${streams === 1 ? 'one stream' : `${streams} streams`}` : `UDP, ${load.slice(3)} octets`;

function titleOf({ load, streams, offloads, direction }: PlaneRow): string {
  return `${loadTitle(load, streams)}, ${direction}, offloads ${offloads}`;
}

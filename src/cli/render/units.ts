/** Octets for people: `512 B`, `18.4 MiB`, `4.8 GiB`. */
export function formatBytes(octets: number): string {
  if (octets < 1024) return `${Math.round(octets)} B`;
  let value = octets;
  let unit = -1;
  // What would be shown as 1024.0 is one of the next unit.
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${UNITS[unit]}`;
}

/** Shorter, for a table: `812 MiB`, `4.8 GiB`. */
export function formatBytesShort(octets: number): string {
  return formatBytes(octets).replace(/^(\d{2,})\.\d /, '$1 ');
}

/** `601 220`: groups of three, parted by blanks. */
export const formatCount = (count: number): string => String(count).replaceAll(/\B(?=(\d{3})+$)/g, ' ');

/** A length of time in its two largest units: `11s`, `4m12s`, `3h48m`, `2d 5h`, `301d`. */
export function formatDuration(millis: number): string {
  const seconds = Math.max(0, Math.round(millis / 1000));
  const [d, h, m, s] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  if (d >= 10) return `${d}d`;
  if (d > 0) return h === 0 ? `${d}d` : `${d}d${h}h`;
  if (h > 0) return m === 0 ? `${h}h` : `${h}h${m}m`;
  if (m > 0) return s === 0 ? `${m}m` : `${m}m${s}s`;
  return `${s}s`;
}

/** Only the largest unit: `4m`, `2h`, `3d`. */
export const formatAge = (millis: number): string => /^\d+[dhms]/.exec(formatDuration(millis))![0];

/** `now`, `2s ago`, `4m12s ago`. */
export const formatAgo = (millis: number): string => (millis < 1000 ? 'now' : `${formatDuration(millis)} ago`);

/** `0.8 ms`, `18 ms`, `1.2 s`. */
export function formatLatency(millis: number): string {
  if (millis < 10) return `${millis.toFixed(1)} ms`;
  return millis < 1000 ? `${Math.round(millis)} ms` : `${(millis / 1000).toFixed(1)} s`;
}

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

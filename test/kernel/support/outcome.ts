import type { Line } from './cases.ts';

/**
 * Judges a case by what the runner printed.
 * @throws with what the case threw, or that it did not begin or not end: what did not run is no success
 */
export function judge(name: string, printed: string, circumstances: string): void {
  const lines = printed.split('\n');
  const told = lines.flatMap(lineFrom);
  const rest = lines.filter((line) => line !== '' && lineFrom(line).length === 0).join('\n');
  for (const line of told) {
    if (!('ended' in line) || line.ended !== name) continue;
    if (line.failure !== undefined) throw new Error(`in the guest: ${line.failure}\n${rest}`);
    return;
  }
  const began = told.some((line) => 'began' in line && line.began === name);
  throw new Error(`${began ? 'began in the guest and did not end' : 'did not run in the guest'}\n${rest}\n${circumstances}`);
}

function lineFrom(text: string): Line[] {
  if (!text.startsWith('{"')) return [];
  try {
    const value = JSON.parse(text) as object;
    return 'began' in value || 'ended' in value ? [value as Line] : [];
  } catch {
    return [];
  }
}

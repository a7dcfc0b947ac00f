import type { Row } from './measure.ts';

/** One line a measurement, subjects side by side; the spread of the runs stands behind the median. */
export function printTable(facts: Readonly<Record<string, string>>, rows: readonly Row[]): string {
  const subjects = [...new Set(rows.map(({ subject }) => subject))];
  const lines = [...new Set(rows.map(({ what }) => what))].map((what) => {
    const here = rows.filter((row) => row.what === what);
    return [what, here[0]!.unit, ...subjects.map((subject) => cell(here.find((row) => row.subject === subject)))];
  });
  const table = [['', 'unit', ...subjects], ...lines];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((line) => line[column]!.length)));
  const text = table.map((line) =>
    line
      .map((field, i) => (i < 2 ? field.padEnd(widths[i]!) : field.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  const about = Object.entries(facts).map(([key, value]) => `${key} ${value}`);
  return `${about.join(' · ')}\n\n${text.join('\n')}\n\nMedians; in brackets the least and the most of all runs.\n`;
}

function cell(row: Row | undefined): string {
  if (row === undefined) return '';
  const shown = number(row.value);
  return row.runs.length > 1 ? `${shown} (${number(Math.min(...row.runs))}–${number(Math.max(...row.runs))})` : shown;
}

const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

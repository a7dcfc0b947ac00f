import { execFileSync } from 'node:child_process';

/** What runs in the guest, by name. A case fails by throwing; there is no skipping. */
export type Cases = Readonly<Record<string, () => void | Promise<void>>>;

/** What the runner writes, a line of JSON each: that a case begins, and how it ended. */
export type Line = { readonly began: string } | { readonly ended: string; readonly ms: number; readonly failure?: string | undefined };

/** Runs a program to its end, its words parted by spaces; it has to succeed. @returns what it printed */
export function command(line: string): string {
  const [program = '', ...words] = line.split(' ').filter((word) => word !== '');
  try {
    return execFileSync(program, words, { encoding: 'utf8', timeout: COMMAND_TIMEOUT, stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${line}\n${stdout}${stderr}${stdout || stderr ? '' : (error as Error).message}`);
  }
}

/** Milliseconds. An emulated processor is some thirty times slower. */
export const CASE_TIMEOUT = 500_000;
const COMMAND_TIMEOUT = 30_000;

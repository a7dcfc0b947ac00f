import { z } from 'zod';
import { invalid, type Parsed, parseDuration, parseOctetRate, parseSize, quoted, valid } from './values.ts';

/**
 * The forms a single value of a configuration can have. Each takes what YAML gives (text) and what a program may pass (numbers,
 * booleans), and turns it into the value the rest of the program works with: milliseconds, octets, addresses.
 */

/** A schema from a function over text. `id` names the form in the JSON Schema. */
export function text<T>(id: string, description: string, examples: readonly string[], parse: (text: string) => Parsed<T>) {
  return z
    .string()
    .transform((input, context): T => {
      const result = parse(input.trim());
      if (result.ok) return result.value;
      context.issues.push({ code: 'custom', message: result.message, input, params: { hint: result.hint } });
      return z.NEVER;
    })
    .meta({ id, description, samples: [...examples] });
}

/** Like `text`, for what a program would rather write as a number. */
export function quantity<T>(id: string, description: string, examples: readonly (string | number)[], parse: (text: string) => Parsed<T>) {
  return z
    .union([z.number(), z.string()])
    .transform((input, context): T => {
      const result = parse(String(input).trim());
      if (result.ok) return result.value;
      context.issues.push({ code: 'custom', message: result.message, input, params: { hint: result.hint } });
      return z.NEVER;
    })
    .meta({ id, description, samples: [...examples] });
}

/** Milliseconds. */
export const duration = quantity(
  'Duration',
  'A length of time: a number with ms, s, m, h or d, or several of them; a bare number is seconds. 0 is never.',
  ['30s', '4h', '1h30m', 90],
  parseDuration,
);

/** Octets. */
export const size = quantity(
  'Size',
  'A number of octets, with KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB. 0 is no limit.',
  ['64GiB', '500MB', 0],
  parseSize,
);

/** Octets a second. */
export const octetRate = text(
  'OctetRate',
  'Octets a second, with K, M or G (powers of 1024); 16K at the least.',
  ['800K', '5M', '1.5G'],
  parseOctetRate,
);

export const flag = z
  .union([z.boolean(), z.enum(['yes', 'no', 'true', 'false'])])
  .transform((value) => value === true || value === 'yes' || value === 'true')
  .meta({ id: 'Flag', description: 'yes or no (true and false do as well).' });

export function integer(id: string, minimum: number, maximum: number, description: string) {
  return z
    .union([z.number(), z.string()])
    .transform((input, context): number => {
      const value = /^\d{1,15}$/.test(String(input).trim()) ? Number(input) : Number.NaN;
      if (value >= minimum && value <= maximum) return value;
      context.issues.push({
        code: 'custom',
        message: `expected a whole number from ${minimum} to ${maximum}, not ${quoted(String(input))}`,
        input,
      });
      return z.NEVER;
    })
    .meta({ id, description });
}

/** A DSCP, 0 to 63. */
export const codePoint = text('Dscp', 'Six binary digits.', ['101110'], (input) =>
  /^[01]{6}$/.test(input) ? valid(Number.parseInt(input, 2)) : invalid(`${quoted(input)} is not six binary digits`),
);

export const port = integer('Port', 0, 65535, 'A UDP or TCP port; 0 takes any that is free.');
export const count = integer('Count', 0, Number.MAX_SAFE_INTEGER, 'A whole number. 0 is no limit.');

/** A list, for which one value alone will do; text may hold several, divided by commas. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.union([z.array(item), item]).transform((value): z.output<T>[] => (Array.isArray(value) ? value : [value]) as z.output<T>[]);
}

/** For lists of words: `a, b` is the same as `[a, b]`. */
export function words<T>(id: string, description: string, examples: readonly string[], parse: (text: string) => Parsed<T>) {
  const several = text<T[]>(id, description, examples, (input) => {
    const values: T[] = [];
    for (const part of input.split(',')) {
      if (part.trim() === '') return invalid('has an empty place between commas');
      const result = parse(part.trim());
      if (!result.ok) return result;
      values.push(result.value);
    }
    return valid(values);
  });
  return listOf(several).transform((lists): T[] => lists.flat());
}

/** A path of the file system; relative ones start at the folder of the configuration file. */
export const path = z
  .string()
  .min(1)
  .meta({ id: 'File', description: 'A file or folder; a relative one is looked for beside the configuration file, ~ is the home folder.' });

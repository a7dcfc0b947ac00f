import { dirname, resolve } from 'node:path';
import type { ConfigError } from '../../core/bytes/errors.ts';
import { problemsOf } from './problems.ts';
import { configuration, type Settings } from './schema.ts';
import { readSource, type Source, sourceOf } from './source.ts';

/** A configuration that the schema has accepted. `compile` makes policy of it. */
export interface LoadedConfig {
  readonly settings: Settings;
  readonly source: Source;
  /** Where relative paths start. */
  readonly directory: string;
}

export interface LoadOptions {
  /** Its name in messages; relative paths inside the configuration start beside it. */
  readonly file?: string | undefined;
  /** Where relative paths start when there is no file. Default: the current folder. */
  readonly directory?: string | undefined;
}

/** Reads YAML or JSON. Throws the first `ConfigError`; `checkConfig` gives all. */
export function loadConfig(text: string, options: LoadOptions = {}): LoadedConfig {
  return acceptSource(readSource(text, options.file), options);
}

/** The same for a configuration that a program made as a value. */
export function configFrom(value: unknown, options: LoadOptions = {}): LoadedConfig {
  return acceptSource(sourceOf(value, options.file), options);
}

/** Everything that is wrong with a configuration, in the order of the file; syntax errors throw. */
export function checkConfig(text: string, options: LoadOptions = {}): readonly ConfigError[] {
  const source = readSource(text, options.file);
  const result = configuration.safeParse(source.value ?? {});
  return result.success ? [] : problemsOf(result.error.issues, source);
}

export function acceptSource(source: Source, options: LoadOptions): LoadedConfig {
  const result = configuration.safeParse(source.value ?? {});
  if (!result.success) throw problemsOf(result.error.issues, source)[0]!;
  const directory = options.directory ?? (options.file === undefined ? '.' : dirname(options.file));
  return { settings: result.data, source, directory: resolve(directory) };
}

import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { ConfigError } from '../core/bytes/errors.ts';
import { checkSecretMode } from '../host/platform/files.ts';
import {
  type ClientFlags,
  type CompiledConfig,
  checkConfig,
  clientFromFlags,
  compile,
  gatewayFromFlags,
  type LoadedConfig,
  loadConfig,
  parseTarget,
  type ServeFlags,
  withFlags,
} from '../product/config/index.ts';
import type { CliContext } from './context.ts';
import { CliError, ConfigMistakes } from './errors.ts';

/** What `up` works with: policy, and which connection of it is meant. */
export interface Wanted {
  readonly config: CompiledConfig;
  readonly connection: string;
  /** Of the instance that will run it. */
  readonly name: string;
}

/** TARGET is a connection of the configuration, a configuration file, or a host or URL that flags make a connection of. */
export function settingsForUp(target: string, flags: ClientFlags, configFile: string | undefined, context: CliContext): Wanted {
  if (isFile(target, context)) {
    const loaded = loadFile(target, context);
    return wanted(loaded, onlyDialled(loaded, target), flags, context);
  }
  const file = configFile ?? defaultConfigFile(context);
  const loaded = file === undefined ? undefined : loadFile(file, context);
  if (loaded !== undefined && Object.hasOwn(loaded.settings.connections ?? {}, target)) return wanted(loaded, target, flags, context);
  if (flags.pskFile === undefined && flags.cert === undefined && !/[./:@]/.test(target)) throw noSuchTarget(target, loaded);
  const parsed = parseTarget(target);
  const connection = nameFor(parsed.host);
  const config = compile(
    clientFromFlags(connection, parsed, absolute(flags, context), { directory: context.cwd, defaultId: context.hostname }),
  );
  return { config, connection, name: flags.name ?? connection };
}

/** What `serve` works with: a configuration file with flags laid over it, or flags alone. */
export function settingsForServe(flags: ServeFlags, configFile: string | undefined, context: CliContext): CompiledConfig {
  const byFlags = flags.pskFile !== undefined || flags.cert !== undefined;
  const file = configFile ?? (byFlags ? undefined : defaultConfigFile(context));
  if (file !== undefined) {
    const stray = CONNECTION_FLAGS.find(([key]) => flags[key] !== undefined);
    if (stray !== undefined) {
      throw new CliError(`${stray[1]} makes a gateway without a configuration, and ${file} is one`, {
        code: 'USAGE',
        hint: `Write it into ${file}, or leave out --config.`,
      });
    }
    return compileFile(withFlags(loadFile(file, context), undefined, absolute(flags, context)), context.uid);
  }
  if (!byFlags) {
    throw new ConfigError('there is no configuration', {
      code: 'CONFIG_MISSING',
      hint: `Write ./tunnelwright.yaml or name one with --config; or start without: tunnelwright serve --psk-file FILE.`,
    });
  }
  return compile(
    gatewayFromFlags(absolute(flags, context), {
      directory: context.cwd,
      defaultId: context.hostname,
      defaultPools: [DEFAULT_POOL, uniqueLocalPrefix()],
    }),
  );
}

/** @throws ConfigError */
export function loadFile(file: string, context: Pick<CliContext, 'cwd'>): LoadedConfig {
  const path = isAbsolute(file) ? file : resolve(context.cwd, file);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ConfigError(`${file}: ${missing ? 'there is no such file' : (cause as Error).message}`, {
      code: 'CONFIG_UNREADABLE',
      file,
      cause,
      hint: 'Check the path given with --config.',
    });
  }
  // Messages name the file as the operator did; relative paths inside it start beside it.
  const options = { file, directory: resolve(path, '..') };
  const [first, second, ...more] = checkConfig(text, options);
  if (first !== undefined && second !== undefined) throw new ConfigMistakes([first, second, ...more]);
  return loadConfig(text, options);
}

/** A file that holds secrets itself must be as private as a secret. */
export function compileFile(loaded: LoadedConfig, uid: number | undefined): CompiledConfig {
  const config = compile(loaded);
  const secrets = [...config.credentials.psks, ...config.credentials.ppks, ...config.credentials.passphrases].map(({ secret }) => secret);
  if (secrets.some((secret) => secret.kind === 'inline' && secret.place.file !== undefined)) {
    const path = resolve(loaded.directory, basename(loaded.source.file ?? ''));
    const facts = statSync(path, { throwIfNoEntry: false });
    if (facts !== undefined) checkSecretMode(path, facts.mode, facts.uid, uid);
  }
  return config;
}

export function defaultConfigFile(context: CliContext): string | undefined {
  const xdg = context.env.XDG_CONFIG_HOME;
  const places = [
    join(context.cwd, FILE_NAME),
    join(xdg?.startsWith('/') ? xdg : join(context.home, '.config'), 'tunnelwright', FILE_NAME),
    join('/etc/tunnelwright', FILE_NAME),
  ];
  const found = places.find((place) => existsSync(place));
  return found === places[0] ? FILE_NAME : found;
}

function wanted(loaded: LoadedConfig, connection: string, flags: ClientFlags, context: CliContext): Wanted {
  const config = compileFile(withFlags(loaded, connection, absolute(flags, context)), context.uid);
  return { config, connection, name: flags.name ?? config.name ?? connection };
}

/** Paths on the command line start where the command was given, not beside the configuration. */
function absolute<T extends ServeFlags & ClientFlags>(flags: T, { cwd, home }: CliContext): T {
  const path = (file: string | undefined) =>
    file === undefined ? undefined : file.startsWith('~/') ? join(home, file.slice(2)) : resolve(cwd, file);
  return {
    ...flags,
    pskFile: path(flags.pskFile),
    cert: path(flags.cert),
    key: path(flags.key),
    ca: flags.ca?.map((file) => path(file)!),
    share: path(flags.share),
    inbox: path(flags.inbox),
    sftp: path(flags.sftp),
  };
}

function onlyDialled({ settings }: LoadedConfig, file: string): string {
  const names = Object.keys(settings.connections ?? {});
  if (names.length === 1) return names[0]!;
  throw new CliError(`${file} has ${names.length === 0 ? 'no connection' : 'several connections'}`, {
    code: 'USAGE',
    hint:
      names.length === 0
        ? 'Add one under connections.'
        : `Name one of them: tunnelwright up ${names[0]} --config ${file}   (there are ${names.join(', ')})`,
  });
}

function noSuchTarget(target: string, loaded: LoadedConfig | undefined): CliError {
  const names = Object.keys(loaded?.settings.connections ?? {});
  const known = names.length > 0 ? `Connections of ${loaded!.source.file}: ${names.join(', ')}. ` : '';
  return new CliError(`there is no connection ${target}`, {
    code: 'USAGE',
    hint: `${known}For a host, say how to authenticate: --psk-file FILE, or --cert FILE --key FILE --ca FILE.`,
  });
}

const isFile = (target: string, { cwd }: CliContext): boolean =>
  /\.(ya?ml|json)$/i.test(target) && statSync(resolve(cwd, target), { throwIfNoEntry: false })?.isFile() === true;

/** `vpn.example.com` is a name; `2001:db8::1` becomes one. */
const nameFor = (host: string): string =>
  host
    .replaceAll(/[^A-Za-z0-9_.@+-]/g, '-')
    .replace(/^[^A-Za-z0-9_]+/, '')
    .slice(0, 64) || 'peer';

/** RFC 4193 §3.2.2: 40 random bits, so that two private networks that meet differ. */
function uniqueLocalPrefix(): string {
  const random = crypto.getRandomValues(new Uint8Array(5));
  const hex = [...random].map((octet) => octet.toString(16).padStart(2, '0'));
  return `fd${hex[0]}:${hex[1]}${hex[2]}:${hex[3]}${hex[4]}::/64`;
}

/** What only a gateway made of flags takes. */
const CONNECTION_FLAGS: readonly (readonly [key: keyof ServeFlags, flag: string])[] = [
  ['pskFile', '--psk-file'],
  ['cert', '--cert'],
  ['key', '--key'],
  ['ca', '--ca'],
  ['id', '--id'],
  ['ike', '--ike'],
  ['esp', '--esp'],
  ['legacy', '--legacy'],
  ['pool', '--pool'],
  ['net', '--net'],
];

const FILE_NAME = 'tunnelwright.yaml';
const DEFAULT_POOL = '10.66.0.0/24';

import type { ConfigError } from '../../core/bytes/errors.ts';
import type { Proposal } from '../../core/wire/payloads/types.ts';
import type { CertificateSource, ConfigWarning, CredentialSources, FileReference, TrustedSource } from './compiled.ts';
import type { PlaneDemand } from './plane-demands.ts';
import { optInWarnings } from './proposals.ts';
import { errorAt, type Path, type Source } from './source.ts';
import { unsupportedAt } from './unsupported.ts';
import type { Parsed } from './values.ts';

/** What the parts of `compile` share: places for messages, and what they collect besides policy. */
export class CompileContext {
  readonly warnings: ConfigWarning[] = [];
  readonly certificates: CertificateSource[] = [];
  /** Authorities that rounds name by file, by handle. */
  readonly authorities = new Map<string, TrustedSource>();
  /** Certificates of peers that are trusted as they are, likewise. */
  readonly peers = new Map<string, TrustedSource>();
  /** Public keys of peers, likewise. */
  readonly peerKeys = new Map<string, CredentialSources['peerKeys'][number]>();
  /** Settings that not every data plane carries out. */
  readonly demands: PlaneDemand[] = [];
  readonly #source: Source;
  readonly #resolve: (path: string) => string;

  constructor(source: Source, resolve: (path: string) => string) {
    this.#source = source;
    this.#resolve = resolve;
  }

  error(path: Path, message: string, hint?: string, code = 'CONFIG_INVALID'): ConfigError {
    return errorAt(this.#source.locate(path), message, hint, code);
  }

  warn(path: Path, message: string, hint?: string): void {
    const place = this.#source.locate(path);
    this.warnings.push({ message: errorAt(place, message).message, hint, place });
  }

  demand(path: Path, feature: PlaneDemand['feature'], why: string): void {
    this.demands.push({ feature, place: this.#source.locate(path), why });
  }

  /** The proposals at a place, with a warning for each transform that is used only when it is named. */
  proposals(path: Path, parsed: Parsed<Proposal[]>): Proposal[] {
    const proposals = this.need(path, parsed);
    for (const { message, hint } of optInWarnings(proposals)) this.warn(path, message, hint);
    return proposals;
  }

  /** The value, or the error at its place. */
  need<T>(path: Path, parsed: Parsed<T>): T {
    if (parsed.ok) return parsed.value;
    throw this.error(path, parsed.message, parsed.hint);
  }

  path(path: string): string {
    return this.#resolve(path);
  }

  file(path: Path, file: string): FileReference {
    return { path: this.#resolve(file), place: this.#source.locate(path) };
  }

  locate(path: Path) {
    return this.#source.locate(path);
  }

  /** Every setting that is present and not carried out is refused or said aloud, once for each. */
  checkSupported(value: unknown, path: Path): void {
    const entry = unsupportedAt(path, value);
    if (entry !== undefined) {
      const message = `this setting is not carried out: ${entry.why}`;
      if (entry.effect === 'refuse')
        throw this.error(path, message, 'Leave it out, knowing that it then has no effect.', 'CONFIG_UNSUPPORTED');
      this.warn(path, message);
    }
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
    for (const [key, inner] of Object.entries(value))
      if (inner !== undefined) this.checkSupported(inner, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

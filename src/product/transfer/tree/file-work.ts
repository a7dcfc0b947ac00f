import { TransferError } from '../errors.ts';
import { TreeSink, type TreeSinkOptions } from './sink.ts';
import { type NamedSource, TreeSource } from './source.ts';
import { Unpacking, type UnpackingOptions } from './unpacking.ts';

/*
 * Work with many small files is made of system calls that take less time than it takes to wait for them: it is done by synchronous calls, in a
 * thread where nobody waits. What is opened there is worked with by its number.
 */

const OPENERS = {
  named: (source: NamedSource) => TreeSource.named(source),
  below: (root: string) => TreeSource.below(root),
  sink: (options: TreeSinkOptions) => new TreeSink(options),
  unpacking: (options: UnpackingOptions) => new Unpacking(options),
} as const;

export type Openers = typeof OPENERS;

export type Asked =
  | { readonly id: number; readonly open: keyof Openers; readonly what: unknown }
  | { readonly id: number; readonly of: number; readonly call: string; readonly args: readonly unknown[] };

export type Answered = { readonly id: number } & ({ readonly result: unknown } | { readonly error: PlainError });

/** An error as it passes from thread to thread. */
interface PlainError {
  readonly message: string;
  readonly details: ConstructorParameters<typeof TransferError>[1];
}

/** Does what it is asked for, one thing after the other. */
export class FileWork {
  readonly #open = new Map<number, object>();

  answer(asked: Asked): Answered {
    const { id } = asked;
    try {
      if ('call' in asked) return { id, result: this.#call(asked.of, asked.call, asked.args) };
      this.#open.set(id, (OPENERS[asked.open] as (what: unknown) => object)(asked.what));
      return { id, result: id };
    } catch (cause) {
      return { id, error: plainError(cause) };
    }
  }

  #call(of: number, call: string, args: readonly unknown[]): unknown {
    const opened = this.#open.get(of) as Record<string, (...args: readonly unknown[]) => unknown> | undefined;
    if (opened === undefined) throw new TransferError('what was open has ended with its thread', { code: 'TRANSFER_IO' });
    if (call === 'close') this.#open.delete(of);
    return opened[call]!(...args);
  }
}

/** Those whose octets are passed on as they are, and not copied. */
export const buffersOf = (values: readonly unknown[]): ArrayBuffer[] =>
  values.flatMap((value) => (value instanceof Uint8Array && value.buffer instanceof ArrayBuffer ? [value.buffer] : []));

export const errorOf = ({ message, details }: PlainError): TransferError => new TransferError(message, details);

function plainError(cause: unknown): PlainError {
  if (!(cause instanceof TransferError)) return { message: String(cause), details: { code: 'TRANSFER_IO' } };
  const { message, hint, resumable, side } = cause;
  const code = cause.code as PlainError['details']['code'];
  return { message, details: { code, resumable, side, ...(hint === undefined ? {} : { hint }) } };
}

/**
 * If-Match, If-None-Match and If-Range compare strongly here (RFC 9110 §13.1): a weak tag matches nothing.
 * @returns true when the field is absent.
 */
export function matches(field: string | undefined, tag: string): boolean {
  if (field === undefined) return true;
  return field.trim() === '*' || field.split(',').some((one) => one.trim() === tag);
}

export interface ByteRange {
  readonly start: number;
  /** Behind the last octet. */
  readonly end: number;
}

/** RFC 9110 §14.1.2. Undefined: answer with the whole. Several ranges at once may be, and are, answered with the whole. */
export function parseRange(field: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const found = field?.match(/^bytes=(\d{0,15})-(\d{0,15})$/);
  if (!found) return undefined;
  const [first, last] = [found[1]!, found[2]!];
  if (first === '') {
    if (last === '') return undefined;
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) return 'unsatisfiable';
  return { start, end: last === '' ? size : Math.min(size, Number(last) + 1) };
}

/** `bytes 100-199/200`; undefined when it is something else. */
export function parseContentRange(field: string | undefined): (ByteRange & { readonly total: number }) | undefined {
  const found = field?.match(/^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/);
  return found ? { start: Number(found[1]), end: Number(found[2]) + 1, total: Number(found[3]) } : undefined;
}

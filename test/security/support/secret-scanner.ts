/**
 * Looks for octets of secrets in text, whatever form they took on the way: as they are, hex with or without separators, base64 at any
 * alignment, decimal lists, JSON of a typed array. A run of eight octets of a secret is a find.
 */
export class SecretScanner {
  /** Runs of `RUN` octets, latin1, and whose they are. */
  readonly #runs = new Map<string, string>();

  get size(): number {
    return this.#runs.size;
  }

  /** Octets that repeat themselves (zeros, say) are no secret and are left out. */
  add(name: string, secret: Uint8Array): void {
    for (let at = 0; at + RUN <= secret.length; at++) {
      const run = secret.subarray(at, at + RUN);
      if (new Set(run).size > 3) this.#runs.set(latin1(run), name);
    }
  }

  /** Names of the secrets that show, each with the form it was found in. */
  scan(text: string | Uint8Array): string[] {
    const raw = typeof text === 'string' ? text : latin1(text);
    const found = new Set<string>();
    const look = (octets: string, form: string): void => {
      for (let at = 0; at + RUN <= octets.length; at++) {
        const name = this.#runs.get(octets.substring(at, at + RUN));
        if (name !== undefined) found.add(`${name}, ${form}`);
      }
    };
    look(raw, 'as it is');
    look(unescape_(raw), 'escaped');
    for (const [run] of raw.matchAll(/(?:[0-9a-f]{2}[\s:.,-]?(?:0x)?){8,}/gi)) {
      const digits = run.replace(/0x|[\s:.,-]/gi, '');
      for (const start of [0, 1]) look(fromPairs(digits.slice(start)), 'hex');
    }
    for (const [run] of raw.replace(/\s+/g, '').matchAll(/[A-Za-z0-9+/_-]{11,}/g)) {
      const plain = run.replaceAll('-', '+').replaceAll('_', '/');
      for (let start = 0; start < 4; start++) look(Buffer.from(plain.slice(start), 'base64').toString('latin1'), 'base64');
    }
    for (const [run] of raw.matchAll(/(?:"?\d{1,3}"?\s*[,:]\s*){7,}\d{1,3}/g)) {
      const numbers = run
        .split(/[^\d]+/)
        .filter((word) => word !== '')
        .map(Number);
      look(String.fromCharCode(...numbers.map((n) => n & 0xff)), 'numbers');
      // {"0":17,"1":34,…}
      look(String.fromCharCode(...numbers.filter((_, i) => i % 2 === 1).map((n) => n & 0xff)), 'numbers by index');
    }
    return [...found].sort();
  }
}

const RUN = 8;
const latin1 = (octets: Uint8Array): string => Buffer.from(octets).toString('latin1');
const fromPairs = (hex: string): string => Buffer.from(hex.slice(0, hex.length & ~1), 'hex').toString('latin1');

/** `\x1b`, `\u001b`, `\n` as JSON, JavaScript and terminals write them. */
const unescape_ = (text: string): string =>
  text.replace(/\\(?:x([0-9a-f]{2})|u00([0-9a-f]{2})|([nrt\\"]))/gi, (_, x?: string, u?: string, c?: string) =>
    x !== undefined || u !== undefined ? String.fromCharCode(Number.parseInt((x ?? u)!, 16)) : ({ n: '\n', r: '\r', t: '\t' }[c!] ?? c!),
  );

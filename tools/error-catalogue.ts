import { parseAst } from 'vitest/node';

/** One stable code of one class, as the source uses it. */
export interface ErrorEntry {
  readonly code: string;
  /** Class of the error tree. */
  readonly type: string;
  /** Sentences it comes with; `…` stands for what is filled in. */
  readonly messages: readonly string[];
  readonly hints: readonly string[];
  /** Rooms of the source, `core/pki`. */
  readonly rooms: readonly string[];
}

export interface SourceText {
  /** From the project's root: `src/core/pki/path.ts`. */
  readonly path: string;
  readonly text: string;
}

/**
 * Every stable error code in the source: the `code` of an object that goes into an error, or the argument of one of the helpers that make
 * errors. Syntax alone is read.
 */
export function errorCatalogue(sources: readonly SourceText[]): ErrorEntry[] {
  const found = sources.flatMap(entriesOf);
  const groups = new Map<string, Found[]>();
  for (const each of found) {
    const key = `${each.code} ${LOCAL[each.type] ?? each.type}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, all]) => {
      const [code, type] = key.split(' ') as [string, string];
      return {
        code,
        type,
        messages: distinct(all.map(({ message }) => message)),
        hints: distinct(all.map(({ hint }) => hint)),
        rooms: distinct(all.map(({ room }) => room)).sort(),
      };
    });
}

/**
 * Functions that take code, message and hint as plain arguments: what they throw. They are known by name; that a new one is missing here
 * shows as a code that is declared and never found.
 */
const HELPERS: Readonly<Record<string, string>> = {
  certificateFailure: 'CertificateFailure',
  errorAt: 'ConfigError',
  'context.error': 'ConfigError',
  'this.error': 'ConfigError',
  'this.#fail': 'ConfigError',
  fail: 'DataPlaneError',
  misuse: 'ApiMisuse',
  HttpRefusal: 'ApiMisuse',
};

/** Of one file; asked again for the same one, what was found then. */
function entriesOf(source: SourceText): readonly Found[] {
  const found = FOUND.get(source) ?? new FileScan(source.path, parseAst(source.text, { lang: 'ts' }) as unknown as Node).entries();
  FOUND.set(source, found);
  return found;
}

const FOUND = new WeakMap<SourceText, readonly Found[]>();

/** Tables of errors that stand outside of the call that throws them. */
const TABLES: Readonly<Record<string, string>> = {
  'src/host/platform/linux/ffi.ts': 'DataPlaneError',
  'src/host/platform/linux/tun.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/errors.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/links.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/socket.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/within.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/xfrm/migrate.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/xfrm/refusals.ts': 'DataPlaneError',
  'src/host/platform/linux/netlink/xfrm/socket-policy.ts': 'DataPlaneError',
  'src/host/platform/udp.ts': 'DataPlaneError',
  'src/host/platform/stream-socket.ts': 'DataPlaneError',
  'src/product/transfer/errors.ts': 'TransferError',
};

const ERROR_CLASS = /(?:Error|Failure|Misuse|Violation|Refused|TimedOut|Malformed\w*|Mistakes|ConnectionLost|OffsetConflict)$/;
/** Those that extend it are the classes of the tree. */
const ROOT_CLASS = 'TunnelwrightError';
const CODE = /^E?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/;

interface Found {
  readonly code: string;
  readonly type: string;
  readonly message: string | undefined;
  readonly hint: string | undefined;
  readonly room: string;
}

interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

class FileScan {
  readonly #room: string;
  readonly #path: string;
  readonly #program: Node;
  readonly #constants = new Map<string, Node>();
  readonly #found: Found[] = [];

  constructor(path: string, program: Node) {
    this.#path = path;
    this.#program = program;
    this.#room = path
      .replace(/^src\//, '')
      .split('/')
      .slice(0, path.startsWith('src/cli/') ? 1 : 2)
      .join('/')
      .replace(/\.ts$/, '');
  }

  entries(): readonly Found[] {
    walk(this.#program, (node) => {
      if (node.type === 'VariableDeclarator' && isNode(node.init) && isNode(node.id) && node.id.type === 'Identifier')
        this.#constants.set(node.id.name as string, node.init);
    });
    this.#visit(this.#program, undefined, undefined);
    this.#wordTables();
    return this.#found;
  }

  /** @param call the nearest call that makes an error; @param base what the class around extends, for `super(…)` */
  #visit(node: Node, call: { readonly type: string; readonly message: string | undefined } | undefined, base: string | undefined): void {
    let around = call;
    let inherits = base;
    if (node.type === 'ClassDeclaration' && isNode(node.superClass)) {
      inherits = nameOf(node.superClass);
      if (inherits === ROOT_CLASS) inherits = nameOf(node.id as Node);
    }
    if (node.type === 'NewExpression' || node.type === 'CallExpression') {
      const callee = nameOf(node.callee as Node);
      const args = (node.arguments as Node[]).filter(isNode);
      if (callee !== undefined && HELPERS[callee] !== undefined) this.#helper(HELPERS[callee], args);
      const type = callee === 'super' ? inherits : node.type === 'NewExpression' ? callee : undefined;
      if (type !== undefined && ERROR_CLASS.test(type)) around = { type, message: this.#text(args[0]) };
    }
    if (node.type === 'ObjectExpression') this.#details(node, around);
    for (const child of childrenOf(node)) this.#visit(child, around, inherits);
  }

  /** Sentences and hints that are looked up by code: constants named WORDS and HINTS. */
  #wordTables(): void {
    const type = TABLES[this.#path];
    const [words, hints] = ['WORDS', 'HINTS'].map((name) => this.#constants.get(name));
    if (type === undefined || words?.type !== 'ObjectExpression') return;
    const textOf = (table: Node | undefined, key: unknown) => {
      const found = ((table?.properties ?? []) as Node[]).find((p) => isNode(p.key) && p.key.name === key);
      return this.#text(found?.value as Node | undefined);
    };
    for (const { key } of words.properties as { key: Node }[]) {
      const code = String(key.name);
      if (CODE.test(code)) this.#add(code, type, textOf(words, code), textOf(hints, code));
    }
  }

  #helper(type: string, args: readonly Node[]): void {
    const codes = args.flatMap((arg) => this.#codes(arg));
    const texts = args.filter((arg) => this.#codes(arg).length === 0).flatMap((arg) => this.#text(arg) ?? []);
    for (const code of codes) this.#add(code, type, texts[0], texts.slice(1).find(isSentence));
  }

  #details(node: Node, around: { readonly type: string; readonly message: string | undefined } | undefined): void {
    const property = (name: string): Node | undefined =>
      (node.properties as Node[]).find((p) => p.type === 'Property' && isNode(p.key) && (p.key.name === name || p.key.value === name))
        ?.value as Node | undefined;
    const code = property('code');
    if (code === undefined) return;
    const type = around?.type ?? TABLES[this.#path];
    if (type === undefined) return;
    const hint = property('hint');
    const message = around?.message ?? this.#text(property('why') ?? property('says'));
    for (const each of this.#codes(code)) this.#add(each, type, message, hint && this.#text(hint));
  }

  #add(code: string, type: string, message: string | undefined, hint: string | undefined): void {
    this.#found.push({ code, type, message, hint, room: this.#room });
  }

  /** The constants that an expression may come out as, when they look like codes. */
  #codes(node: Node): string[] {
    switch (node.type) {
      case 'Literal':
        return typeof node.value === 'string' && CODE.test(node.value) ? [node.value] : [];
      case 'ConditionalExpression':
        return [...this.#codes(node.consequent as Node), ...this.#codes(node.alternate as Node)];
      case 'LogicalExpression':
        return [...this.#codes(node.left as Node), ...this.#codes(node.right as Node)];
      default:
        return [];
    }
  }

  /** A sentence with `…` for what is filled in; of alternatives the first. */
  #text(node: Node | undefined): string | undefined {
    switch (node?.type) {
      case 'Literal':
        return typeof node.value === 'string' ? node.value : undefined;
      case 'TemplateLiteral':
        return (node.quasis as { value: { cooked: string } }[])
          .map(({ value }) => value.cooked)
          .join('…')
          .replace(/…(?:\s*…)+/g, '…')
          .trim();
      case 'ConditionalExpression':
        return this.#text(node.consequent as Node) ?? this.#text(node.alternate as Node);
      case 'LogicalExpression':
        return this.#text(node.right as Node);
      case 'Identifier':
        return this.#text(this.#constants.get(node.name as string));
      default:
        return undefined;
    }
  }
}

/** `certificateFailure`, `context.error`, `this.#fail`, `super`. */
function nameOf(node: Node): string | undefined {
  switch (node.type) {
    case 'Identifier':
      return node.name as string;
    case 'PrivateIdentifier':
      return `#${node.name as string}`;
    case 'ThisExpression':
      return 'this';
    case 'Super':
      return 'super';
    case 'MemberExpression': {
      const [object, property] = [nameOf(node.object as Node), nameOf(node.property as Node)];
      return object === undefined || property === undefined ? undefined : `${object}.${property}`;
    }
    default:
      return undefined;
  }
}

function walk(node: Node, visit: (node: Node) => void): void {
  visit(node);
  for (const child of childrenOf(node)) walk(child, visit);
}

function childrenOf(node: Node): Node[] {
  const children: Node[] = [];
  for (const field in node) {
    const value = node[field];
    if (Array.isArray(value)) children.push(...value.filter(isNode));
    else if (isNode(value)) children.push(value);
  }
  return children;
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';

const isSentence = (text: string): boolean => /^[A-Z`]/.test(text) && text.includes(' ') && !/^RFC \d/.test(text);

const distinct = (values: readonly (string | undefined)[]): string[] =>
  [...new Set(values.filter((value) => value !== undefined && value !== '' && value !== '…'))] as string[];

/** Subclasses that nobody outside their file knows by name. */
const LOCAL: Readonly<Record<string, string>> = {
  InvalidKe: 'NegotiationFailure',
  UnsupportedCriticalPayload: 'PeerViolation',
  HttpRefusal: 'ApiMisuse',
  DemoFailure: 'DataPlaneError',
  ConfigMistakes: 'ConfigError',
  ConnectionLost: 'TransferError',
  OffsetConflict: 'TransferError',
};

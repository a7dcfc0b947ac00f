import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { must } from './process.ts';

/** What a guest finds when it starts: folders and files by their path in it. */
export class Initramfs {
  readonly #parts: Buffer[] = [];
  readonly #known = new Set<string>();
  #inodes = 0;

  file(path: string, contents: Uint8Array | string, mode = 0o644): this {
    return this.#add(path, typeof contents === 'string' ? Buffer.from(contents) : contents, 0o100_000 | mode);
  }

  link(path: string, target: string): this {
    return this.#add(path, Buffer.from(target), 0o120_777);
  }

  folder(path: string, mode = 0o755): this {
    return this.#add(path, new Uint8Array(0), 0o040_000 | mode);
  }

  /** All files of a folder of this machine, under the same names. */
  copy(from: string, to: string, mode?: number): this {
    for (const name of readdirSync(from)) this.file(join(to, name), readFileSync(join(from, name)), mode);
    return this;
  }

  /** A folder of this machine with all that is below it, links followed; `wanted` chooses files by their path. */
  tree(from: string, to: string, wanted: (path: string) => boolean = () => true): this {
    for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (!wanted(path) || !statSync(path).isFile()) continue;
      this.file(join(to, relative(from, path)), readFileSync(path));
    }
    return this;
  }

  archive(): Buffer {
    return Buffer.concat([...this.#parts, entry('TRAILER!!!', new Uint8Array(0), 0, 0)]);
  }

  #add(path: string, contents: Uint8Array, mode: number): this {
    const name = path.replace(/^\/+/, '');
    if (this.#known.has(name)) return this;
    const parent = name.slice(0, Math.max(0, name.lastIndexOf('/')));
    if (parent !== '') this.folder(parent);
    this.#known.add(name);
    this.#parts.push(entry(name, contents, mode, ++this.#inodes));
    return this;
  }
}

/** A program with the libraries it needs, out of the first of several systems in folders that has each. `''` is this machine. */
export async function addProgram(image: Initramfs, systems: readonly string[], program: string): Promise<void> {
  const file = firstOf(systems, [program]);
  const library = program.includes('/lib/');
  image.file(library ? `${GUEST_LIBRARIES}/${basename(program)}` : program, readFileSync(file), 0o755);
  await addLibraries(image, systems, file);
}

/** The libraries that a program or a library of this machine needs. */
export async function addLibraries(image: Initramfs, systems: readonly string[], file: string): Promise<void> {
  const loader = realpathSync(firstOf(systems, [LOADER]));
  const path = systems.map((system) => `${system}${LIBRARIES}`).join(':');
  const listed = await must(loader, ['--library-path', path, '--list', file]);
  image.file(LOADER, readFileSync(loader), 0o755);
  for (const [, name = '', found = ''] of listed.matchAll(/^\s*(\S+) => (\/\S+)/gm))
    image.file(`${GUEST_LIBRARIES}/${name}`, readFileSync(found), 0o755);
}

/** The kernel and its modules, out of an unpacked package: gives the kernel's path and the modules in the order in which they go in. */
export async function addModules(
  image: Initramfs,
  system: string,
  names: readonly string[],
): Promise<{ readonly kernel: string; readonly modules: readonly string[] }> {
  const [release = ''] = readdirSync(join(system, 'lib', 'modules'));
  if (!existsSync(join(system, 'lib', 'modules', release, 'modules.dep'))) await must('depmod', ['-b', system, release]);
  const listed = await must('modprobe', ['-a', '-d', system, '-S', release, '--show-depends', ...names]);
  const modules = [...new Set([...listed.matchAll(/^insmod (\S+)/gm)].map((match) => match[1]!))];
  for (const module of modules) image.file(`/modules/${basename(module)}`, readFileSync(module));
  return { kernel: join(system, 'boot', `vmlinuz-${release}`), modules: modules.map((module) => `/modules/${basename(module)}`) };
}

function firstOf(systems: readonly string[], paths: readonly string[]): string {
  for (const system of systems) for (const path of paths) if (existsSync(`${system}${path}`)) return `${system}${path}`;
  throw new Error(`${paths.join(', ')} is in none of ${systems.map((system) => system || '/').join(', ')}`);
}

/** One entry of a cpio archive of the format newc, which is what the kernel unpacks. */
function entry(name: string, contents: Uint8Array, mode: number, inode: number): Buffer {
  const fields = [inode, mode, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0];
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`);
  return Buffer.concat([padded(head), padded(contents)]);
}

const padded = (octets: Uint8Array): Uint8Array => Buffer.concat([octets, new Uint8Array(-octets.length & 3)]);
const LOADER = '/lib64/ld-linux-x86-64.so.2';
const LIBRARIES = '/usr/lib/x86_64-linux-gnu';
const GUEST_LIBRARIES = '/lib/x86_64-linux-gnu';

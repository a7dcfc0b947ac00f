import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { errorsPage, grammarPage, transformsPage } from '../../tools/docs.ts';
import { errorCatalogue } from '../../tools/error-catalogue.ts';
import { filesBelow, ROOT, readSource } from '../architecture/sources.ts';

const sources = filesBelow('src', '.ts').map(readSource);

// `npx vitest run --project unit test/tools/docs.test.ts -u` writes the pages anew.
test.each([
  ['errors.md', () => errorsPage(sources)],
  ['grammar.md', grammarPage],
  ['transforms.md', transformsPage],
])('docs/reference/%s is what the source says', async (name, page) => {
  await expect(page()).toMatchFileSnapshot(join(ROOT, 'docs', 'reference', name));
});

/** Codes for whoever tells the path validation what was revoked. */
const OF_OTHERS: ReadonlySet<string> = new Set(['CERTIFICATE_REVOKED']);

describe('the catalogue of errors', () => {
  const codes = new Set(errorCatalogue(sources).map(({ code }) => code));

  test('knows every code that a type declares', () => {
    const declared = sources.flatMap(({ text }) =>
      [...text.matchAll(/export type \w*Code =([^;]*);/g)].flatMap(([, union]) =>
        [...union!.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code!),
      ),
    );
    expect(declared.length).toBeGreaterThan(20);
    expect(declared.filter((code) => !codes.has(code) && !OF_OTHERS.has(code))).toEqual([]);
  });

  test('knows every code that a table of exit codes or of HTTP statuses names, and that can happen', () => {
    const named = sources
      .filter(({ path }) => path === 'src/cli/exit-codes.ts' || path === 'src/product/transfer/errors.ts')
      .flatMap(({ text }) => [...text.matchAll(/^\s*\[?'?([A-Z]+(?:_[A-Z]+)+)'?[,:] /gm)].map(([, code]) => code!));
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((code) => !codes.has(code))).toEqual([]);
  });

  test.each<[string, string, object]>([
    [
      'a class',
      `throw new ConfigError(\`\${path} is \${what}\`, { code: 'BAD_FILE', hint: 'Mend it.' });`,
      { code: 'BAD_FILE', type: 'ConfigError', messages: ['… is …'], hints: ['Mend it.'] },
    ],
    ['either of two', `throw new TimedOut('late', { code: early ? 'TOO_EARLY' : 'TOO_LATE' });`, { code: 'TOO_EARLY', type: 'TimedOut' }],
    [
      'a helper',
      `throw certificateFailure('WEAK_KEY', 'too short', 'Take another.');`,
      { code: 'WEAK_KEY', type: 'CertificateFailure', messages: ['too short'], hints: ['Take another.'] },
    ],
    [
      'a class of its own',
      `class Odd extends PeerViolation { constructor() { super('odd', { code: 'ODD' }); } }`,
      { code: 'ODD', type: 'PeerViolation', messages: ['odd'] },
    ],
  ])('reads %s', (_what, text, entry) => {
    expect(errorCatalogue([{ path: 'src/core/pki/x.ts', text }])).toEqual(
      expect.arrayContaining([expect.objectContaining({ ...entry, rooms: ['core/pki'] })]),
    );
  });

  test('does not take a comparison or a notify for an error', () => {
    const text = `if (error.code === 'NOT_ONE') throw refusedBy(refused, 'IKE_AUTH'); const x = { code: 'IN_A_TABLE' };`;
    expect(errorCatalogue([{ path: 'src/core/ike/x.ts', text }])).toEqual([]);
  });
});

describe('commands in the documentation', () => {
  const { program } = buildProgram({ version: '0' } as Parameters<typeof buildProgram>[0]);
  const pages = ['README.md', ...filesBelow('docs/how-to', '.md')];
  const lines = pages.flatMap((page) =>
    [
      ...readSource(page)
        .text.replaceAll('\\\n', ' ')
        .matchAll(/^```\w*\n([\s\S]*?)^```/gm),
    ].flatMap(([, block]) =>
      [...block!.matchAll(/^(?:.*\| )?(?:npx )?(?:tunnelwright|tw) ([a-z]+)\b(.*)$/gm)].map(
        ([, command, rest]) => [page, command!, rest!] as const,
      ),
    ),
  );

  test('there are some', () => expect(lines.length).toBeGreaterThan(12));

  test.each(lines)('%s: tunnelwright %s%s', (_page, name, rest) => {
    const command = program.commands.find((each) => each.name() === name);
    const flags = new Set([...program.options, ...(command?.options ?? [])].flatMap(({ long, short }) => [long, short]));
    const used = rest.split(/\s+/).filter((word) => /^--?[a-z]/.test(word));
    expect([name, command !== undefined]).toEqual([name, true]);
    expect(used.filter((flag) => !flags.has(flag))).toEqual([]);
  });
});

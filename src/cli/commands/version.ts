import process from 'node:process';
import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { padEnd, wrap } from '../render/text.ts';

export function registerVersion(shell: Shell): void {
  addCommand(
    shell,
    { usage: 'version', group: 'Misc', summary: 'versions, and what this machine can do' },
    (command) => command,
    async ({ context, out }) => {
      const facts = await machineFacts(context.version);
      if (out.json) out.document(facts);
      else {
        const planes = facts.planes.map(
          ({ name, available, detail }) => [`  ${name}`, `${available ? out.paint.green('ok') : out.paint.dim('no')}   ${detail}`] as const,
        );
        const rows = [
          ['tunnelwright', facts.version],
          ['node', `${facts.node} on ${facts.platform} ${facts.arch}`],
          ['openssl', facts.openssl],
          ['data planes', ''],
          ...planes,
          ['ciphers', facts.ciphers.join(' ')],
          ['key exchange', facts.keyExchange.join(' ')],
        ] as const;
        for (const [name, value] of rows) out.line(`${padEnd(name, 14)} ${wrap(value, out.columns - 15, ' '.repeat(15))}`.trimEnd());
      }
      return EXIT.ok;
    },
  );
}

/** What the program is made of and what it finds here. */
async function machineFacts(version: string) {
  const [{ backends }, { encryptionTransforms }, { keyExchangeMethods }, { keywordOf }, { lackOf }] = await Promise.all([
    import('../../host/dataplane/index.ts'),
    import('../../core/crypto/transforms.ts'),
    import('../../core/crypto/key-exchange.ts'),
    import('../../core/crypto/keywords.ts'),
    import('../../core/crypto/capabilities.ts'),
  ]);
  const planes = await Promise.all(
    backends
      .filter(({ name }) => name !== 'memory')
      .map(async (backend) => {
        const result = await backend.probe();
        return { name: backend.name, available: result.ok, detail: result.ok ? result.detail : `${result.reason}. ${result.hint}` };
      }),
  );
  return {
    version,
    node: process.version,
    openssl: process.versions.openssl,
    platform: process.platform,
    arch: process.arch,
    planes,
    ciphers: encryptionTransforms()
      .flatMap(({ id, keyLengths, keyLengthAttribute }) =>
        keyLengthAttribute === 'absent' ? [{ type: 1, id }] : keyLengths.map((keyLength) => ({ type: 1, id, keyLength })),
      )
      .filter((transform) => lackOf(transform) === undefined)
      .map(keywordOf),
    keyExchange: keyExchangeMethods()
      .map(({ id }) => ({ type: 4, id }))
      .filter((transform) => lackOf(transform) === undefined)
      .map(keywordOf),
  };
}

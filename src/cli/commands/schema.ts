import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';

export function registerSchema(shell: Shell): void {
  addCommand<{ readonly markdown?: true }>(
    shell,
    {
      usage: 'schema',
      group: 'Misc',
      summary: 'JSON Schema of the configuration',
      description: 'Prints the JSON Schema of the configuration, for editors and checks.',
    },
    (command) => command.option('--markdown', 'the reference page instead'),
    async ({ context, flags }) => {
      if (flags.markdown === true) context.out.write((await import('../../product/config/reference.ts')).referencePage());
      else context.out.write(`${JSON.stringify((await import('../../product/config/json-schema.ts')).jsonSchema(), null, 2)}\n`);
      return EXIT.ok;
    },
  );
}

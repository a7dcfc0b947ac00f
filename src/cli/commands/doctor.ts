import { addCommand, type Shell } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { renderDiagnosis } from '../render/doctor.ts';

const DESCRIPTION =
  'Tries what data planes need, says which ones can run and which one `plane: auto` takes, and what to do about the rest. ' +
  'Ends with 1 when something that was asked for cannot work: the configuration’s plane, or Node itself.';

export function registerDoctor(shell: Shell): void {
  addCommand(
    shell,
    { usage: 'doctor', group: 'Look', summary: 'what this machine can do, and what it lacks', description: DESCRIPTION },
    (command) => command,
    async ({ context, out, flags }) => {
      const { examine } = await import('../doctor/examine.ts');
      const diagnosis = await examine(flags.config, context);
      if (out.json) out.document(diagnosis);
      else out.print(renderDiagnosis(diagnosis, out.paint, out.columns));
      return diagnosis.ok ? EXIT.ok : EXIT.failed;
    },
  );
}

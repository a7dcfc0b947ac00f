import type { PlaneUse } from '../../host/dataplane/index.ts';
import type { Paint } from '../context.ts';
import type { Diagnosis, PlaneFound, Taken } from '../doctor/examine.ts';
import { padEnd, wrap } from './text.ts';

/** What was looked at, line by line; under what is not well, the next action. */
export function renderDiagnosis({ checks, planes, auto }: Diagnosis, paint: Paint, columns: number): string {
  const word = { ok: paint.green('ok'), warn: paint.yellow('warn'), fail: paint.red('fail'), no: paint.dim('no') } as const;
  const row = (state: keyof typeof word, name: string, detail: string, fix: string | null): string[] => {
    const text = (what: string): string => wrap(what, columns - INDENT, ' '.repeat(INDENT));
    return [
      `  ${padEnd(word[state], 4)}  ${padEnd(name, NAME)}  ${text(detail)}`,
      ...(fix === null ? [] : [`${' '.repeat(INDENT)}${paint.cyan('→')} ${wrap(fix, columns - INDENT - 2, ' '.repeat(INDENT + 2))}`]),
    ];
  };
  return [
    'Machine',
    ...checks.flatMap(({ state, name, detail, fix }) => row(state, name, detail, fix)),
    'Data planes',
    ...planes.flatMap((plane) => row(plane.available ? 'ok' : 'no', plane.name, detailOf(plane), plane.fix)),
    'What plane: auto takes here',
    ...auto.flatMap((taken) => row(taken.name === null ? 'no' : 'ok', taken.name ?? 'none', purpose(taken), null)),
    '',
  ].join('\n');
}

const detailOf = ({ detail, automatic }: PlaneFound): string => (automatic ? detail : `${detail}; taken by name alone`);

function purpose({ use, name, better }: Taken): string {
  const would = better.map(({ name }) => name).join(' or ');
  return would === '' ? `for ${PURPOSES[use]}` : `for ${PURPOSES[use]}; ${would} would serve${name === null ? '' : ' better'}, see above`;
}

const PURPOSES: Readonly<Record<PlaneUse, string>> = {
  own: 'commands and files of our own, and for programs that use the library',
  machine: 'networks behind this machine, and for all of its programs',
  programs: 'programs that are started behind the tunnel',
};

const NAME = 13;
const INDENT = 2 + 4 + 2 + NAME + 2;

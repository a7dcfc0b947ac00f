import { CHILD_SA_STATES, CHILD_SA_TRANSITIONS } from './child-sa-state.ts';
import { CHILD_MET, COLLISIONS, IKE_MET, RIVALS_MET } from './collisions.ts';
import { IKE_SA_STATES, IKE_SA_TRANSITIONS } from './ike-sa-state.ts';

/** The state machines and the collision rules as Markdown, for docs/reference/ike-states.md: what is printed is what decides. */
export function printTables(): string {
  return [
    '# States and collisions of the IKE core',
    'Printed from `src/core/ike`; `npx vitest run -u test/core/ike/tables.test.ts` prints it anew.',
    '## IKE SA',
    matrix(IKE_SA_STATES, IKE_SA_TRANSITIONS),
    '## CHILD_SA',
    matrix(CHILD_SA_STATES, CHILD_SA_TRANSITIONS),
    '## A request of the peer meets a CHILD_SA (RFC 7296 §1.4.1, §2.25.1)',
    table(
      ['the child is', 'rekey it', 'delete it'],
      CHILD_MET.map((met) => [met, COLLISIONS.rekeyChild[met], COLLISIONS.deleteChild[met]]),
    ),
    '## A request of the peer meets an IKE SA (RFC 7296 §2.25.1, §2.25.2)',
    table(
      ['the IKE SA is', 'rekey it', 'create or rekey a child'],
      IKE_MET.map((met) => [met, COLLISIONS.rekeyIke[met], COLLISIONS.makeChild[met]]),
    ),
    '## Two SAs were made at once in place of one (RFC 7296 §2.8.1, §2.8.2)',
    table(
      ['of the four nonces', 'redundant is'],
      RIVALS_MET.map((met) => [met, COLLISIONS.redundant[met]]),
    ),
    'Whoever made the redundant SA deletes it; whoever made the other one deletes the SA that both replaced.',
    '',
  ].join('\n\n');
}

/** Rows: from; columns: to. */
function matrix<S extends string>(states: readonly S[], transitions: Readonly<Record<S, readonly S[]>>): string {
  return table(
    ['from \\ to', ...states],
    states.map((from) => [from, ...states.map((to) => (transitions[from].includes(to) ? '✓' : ''))]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

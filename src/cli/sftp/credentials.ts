import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { readSecretFile } from '../../host/platform/files.ts';
import { type Credential, firstLine, type PrivateKey, type Question, readPrivateKey } from '../../product/sftp/index.ts';
import type { CliContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { ask, isInteractive } from './ask.ts';

/** How a user proves who they are. */
export interface LoginFlags {
  readonly identity?: readonly string[];
  readonly agent?: true;
  readonly passwordFile?: string;
}

/** What the flags name, in ssh's order; without flags the agent, the user's keys, and whoever sits at the terminal. @throws CliError */
export function credentialsFrom(flags: LoginFlags, who: string, context: CliContext): Credential[] {
  const path = (file: string): string => resolve(context.cwd, file);
  const { identity, agent, passwordFile } = flags;
  const person = isInteractive(context);
  if (identity === undefined && agent === undefined && passwordFile === undefined) {
    return [...agentOf(context), ...usualKeys(context), ...(person ? byPerson(who, context) : [])];
  }
  const socket = agentOf(context);
  if (agent === true && socket.length === 0)
    throw new CliError('there is no ssh-agent: SSH_AUTH_SOCK is not set', { code: 'USAGE', hint: 'Start one: eval $(ssh-agent); ssh-add' });
  return [
    ...(agent === true ? socket : []),
    ...(identity ?? []).map((file) => keyOf(path(file), context, false)),
    ...(passwordFile === undefined ? (person ? byPerson(who, context) : []) : byFile(path(passwordFile))),
  ];
}

function agentOf({ env }: CliContext): Credential[] {
  const socket = env.SSH_AUTH_SOCK;
  return socket === undefined || socket === '' ? [] : [{ kind: 'agent', socket }];
}

function usualKeys(context: CliContext): Credential[] {
  return ['id_ed25519', 'id_ecdsa', 'id_rsa']
    .map((name) => join(context.home, '.ssh', name))
    .filter((file) => existsSync(file))
    .map((file) => keyOf(file, context, true));
}

/** @param unasked nobody named it: that it cannot be used is no reason to stop */
function keyOf(file: string, context: CliContext, unasked: boolean): Credential {
  const read = once(async (): Promise<PrivateKey | undefined> => {
    const question = (wrong: boolean): string => `${wrong ? 'That is not it. ' : ''}Passphrase of ${file}: `;
    const passphrase = isInteractive(context) ? (wrong: boolean) => ask(context, question(wrong), { echo: false }) : undefined;
    return readPrivateKey(file, passphrase);
  });
  return { kind: 'key', name: basename(file), load: () => (unasked ? read().catch(() => undefined) : read()) };
}

function byFile(file: string): Credential[] {
  const password = once(async () => firstLine(await readSecretFile(file)));
  // servers that ask by PAM ask one question, and mean the password
  const answer = async (_title: string, questions: readonly Question[]): Promise<readonly string[] | undefined> =>
    questions.some(({ echo }) => echo) ? undefined : Promise.all(questions.map(password));
  return [
    { kind: 'password', password },
    { kind: 'questions', answer },
  ];
}

function byPerson(who: string, context: CliContext): Credential[] {
  return [
    {
      kind: 'questions',
      answer: async (title: string, questions: readonly Question[]) => {
        if (title !== '') context.err.write(`${title}\n`);
        const answers: string[] = [];
        for (const { text, echo } of questions) {
          const answer = await ask(context, text, { echo });
          if (answer === undefined) return undefined;
          answers.push(answer);
        }
        return answers;
      },
    },
    { kind: 'password', password: once(() => ask(context, `${who}'s password: `, { echo: false })) },
  ];
}

/** A connection that is made again asks nobody again. */
function once<T>(act: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= act();
    return made;
  };
}

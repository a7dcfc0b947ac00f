import type { AnyAuthMethod, AuthenticationType } from 'ssh2';
import { fromUtf8, printable } from '../../core/bytes/index.ts';
import type { PrivateKey } from './private-key.ts';

/** A question of the server's, or of ours, that a person answers. */
export interface Question {
  readonly text: string;
  /** false: what is typed is not shown. */
  readonly echo: boolean;
}

/** What a user can prove to be who they say with; each is asked for its secret when it is its turn, and not before. */
export type Credential =
  | {
      readonly kind: 'key';
      /** For messages. */
      readonly name: string;
      /** undefined gives up on this one. */
      readonly load: () => Promise<PrivateKey | undefined>;
    }
  | { readonly kind: 'agent'; readonly socket: string }
  | { readonly kind: 'password'; readonly password: () => Promise<string | undefined> }
  /** keyboard-interactive (RFC 4256); undefined gives up. */
  | {
      readonly kind: 'questions';
      readonly answer: (title: string, questions: readonly Question[]) => Promise<readonly string[] | undefined>;
    };

/** Goes through what there is, as far as the server would take it. */
export class Login {
  readonly #user: string;
  readonly #left: Credential[];
  readonly #tried: string[] = [];
  #asked = false;
  #accepted: readonly string[] = [];

  constructor(user: string, credentials: readonly Credential[]) {
    this.#user = user;
    this.#left = [...credentials];
  }

  /** Names of what was tried in vain. */
  get tried(): readonly string[] {
    return this.#tried;
  }

  /** What the server said that it would take. */
  get accepted(): readonly string[] {
    return this.#accepted;
  }

  /** @param methods what the server would take, null before it was asked. @returns the next to try, false where nothing is left */
  async next(methods: readonly AuthenticationType[] | null): Promise<AnyAuthMethod | false> {
    if (methods !== null) this.#accepted = methods;
    if (!this.#asked) {
      this.#asked = true;
      return { type: 'none', username: this.#user };
    }
    for (let credential = this.#left.shift(); credential !== undefined; credential = this.#left.shift()) {
      if (!this.#accepted.includes(METHOD[credential.kind])) continue;
      const method = await this.#methodOf(credential);
      if (method === undefined) continue;
      this.#tried.push(credential.kind === 'key' ? `key ${credential.name}` : WORD[credential.kind]);
      return method;
    }
    return false;
  }

  async #methodOf(credential: Credential): Promise<AnyAuthMethod | undefined> {
    const username = this.#user;
    switch (credential.kind) {
      case 'key': {
        const loaded = await credential.load();
        return loaded && { type: 'publickey', username, ...loaded };
      }
      case 'agent':
        return { type: 'agent', username, agent: credential.socket };
      case 'password': {
        const password = await credential.password();
        return password === undefined ? undefined : { type: 'password', username, password };
      }
      case 'questions':
        return {
          type: 'keyboard-interactive',
          username,
          prompt: (name, instructions, _language, prompts, finish) => {
            const questions = prompts
              .slice(0, MOST_QUESTIONS)
              .map(({ prompt, echo }) => ({ text: printable(prompt), echo: echo === true }));
            const title = printable([name, instructions].filter((text) => text !== '').join(': '));
            // an answer too few is a refusal, which the server tells
            credential.answer(title, questions).then(
              (answers) => finish([...(answers ?? [])]),
              () => finish([]),
            );
          },
        };
    }
  }
}

/** The password of a file: its first line. */
export const firstLine = (octets: Uint8Array): string => fromUtf8(octets).split(/\r?\n/, 1)[0]!;

const METHOD: Readonly<Record<Credential['kind'], AuthenticationType>> = {
  key: 'publickey',
  agent: 'publickey',
  password: 'password',
  questions: 'keyboard-interactive',
};
const WORD = { agent: 'the agent', password: 'a password', questions: 'answers to its questions' } as const;
const MOST_QUESTIONS = 16;

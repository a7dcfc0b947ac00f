import { expect, test } from 'vitest';
import { type AskContext, answerAsk, type Hooks } from '../../../src/host/engine/asks.ts';
import { LeaseTable } from '../../../src/host/engine/leases.ts';

/** A clock whose only timer runs when the test says so. */
function context(hooks: Hooks): { readonly context: AskContext; readonly late: () => void; readonly armed: () => number | undefined } {
  let timer: { readonly delay: number; readonly run: () => void } | undefined;
  const clock = {
    wall: () => 0,
    now: () => 0,
    after: (delay: number, run: () => void) => {
      timer = { delay, run };
      return {
        cancel: () => {
          timer = undefined;
        },
      };
    },
  };
  const leases = new LeaseTable([{ name: 'lan', ranges: ['10.66.0.0/24'] }]);
  return { context: { clock, leases, hooks } as unknown as AskContext, late: () => timer!.run(), armed: () => timer?.delay };
}

const remoteId = { idType: 2, data: new Uint8Array([97]) };
const ASKS = {
  authorise: { kind: 'authorise', connection: 'clients', remoteId },
  chooseAddress: { kind: 'lease', connection: 'clients', pools: ['lan'], remoteId, requested: [{ type: 1, value: new Uint8Array(0) }] },
} as const;

test.each(['authorise', 'chooseAddress'] as const)('a hook %s that does not answer has refused after 20 s', async (hook) => {
  const { context: surroundings, late, armed } = context({ [hook]: () => new Promise<undefined>(() => undefined) });
  const answer = answerAsk(ASKS[hook] as never, 1, surroundings);
  expect(armed()).toBe(20_000);
  late();
  expect(await answer).toMatchObject({ ok: false, error: { code: 'HOOK_TIMEOUT', message: expect.stringContaining(hook) } });
  expect(surroundings.leases.list()).toEqual([]);
});

test.each(['authorise', 'chooseAddress'] as const)('a hook %s that answers is waited for no longer', async (hook) => {
  const { context: surroundings, armed } = context({ [hook]: () => Promise.resolve(undefined) });
  expect(await answerAsk(ASKS[hook] as never, 1, surroundings)).toMatchObject({ ok: true });
  expect(armed()).toBeUndefined();
});

test('a certificate that is named by hash and URL is verified in place of its name (RFC 7296 §3.6)', async () => {
  const [named, whole] = [{ encoding: 12 }, { encoding: 4 }].map((each) => [{ kind: 'CERT', ...each, data: new Uint8Array(1) }]);
  const verified: unknown[] = [];
  const credentials = {
    lookUp: async (certificates: unknown) => (certificates === named ? whole : []),
    verify: (ask: { readonly certificates: unknown }) => {
      verified.push(ask.certificates);
      return { ok: true };
    },
  };
  const surroundings = { ...context({}).context, credentials } as never;
  expect(await answerAsk({ kind: 'verify', certificates: named } as never, 1, surroundings)).toEqual({ ok: true });
  expect(verified).toEqual([whole]);
});

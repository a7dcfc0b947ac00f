import { Scope } from '../interop/support/scope.ts';
import { cpuSeconds, type Row, row } from './measure.ts';
import { carryOut, type Plan, startResponder } from './plan.ts';
import { ESP_SUITE, type Profile, SUITE, type Subject } from './subjects.ts';

/** Rekeyings of CHILD_SAs with a key exchange of their own, per second of one core of the end that answers. */
export const measureRekeyings = (subject: Subject, rounds: number, count: number): Promise<Row> =>
  measure(subject, rounds, 'rekeyings of a CHILD_SA as responder, PFS x25519', 'rekeyings/s/core', {
    plan: { what: 'rekeyings', peers: 32, count, suite: SUITE, esp: `${ESP_SUITE}-x25519` },
    profile: { esp: `${ESP_SUITE}-x25519` },
  });

/** Answers with a COOKIE to strangers, per second of one core. One half-open IKE SA, which stays, is what makes them necessary. */
export const measureCookies = (subject: Subject, rounds: number, count: number): Promise<Row> =>
  measure(subject, rounds, 'demands for a COOKIE', 'answers/s/core', {
    plan: { what: 'cookies', peers: 1, count, suite: SUITE, esp: ESP_SUITE },
    profile: { cookieThreshold: 1, patient: true },
  });

async function measure(
  subject: Subject,
  rounds: number,
  what: string,
  unit: string,
  { plan, profile }: { readonly plan: Omit<Plan, 'local' | 'remote' | 'secret' | 'first'>; readonly profile: Profile },
): Promise<Row> {
  const scope = new Scope();
  try {
    const { responder, left, secret } = await startResponder(scope, subject, profile);
    const rates: number[] = [];
    for (let round = 0; round < WARM_ROUNDS + rounds; round++) {
      const before = cpuSeconds(responder.pid);
      const end = await carryOut(left, { ...plan, secret, first: round * plan.peers });
      if (round >= WARM_ROUNDS) rates.push(plan.count / (cpuSeconds(responder.pid) - before));
      await end();
    }
    return row(what, subject.name, unit, rates);
  } finally {
    await scope.close();
  }
}

const WARM_ROUNDS = 3;

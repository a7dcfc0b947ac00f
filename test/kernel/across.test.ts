import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Dialogue } from '../interop/support/dialogue.ts';
import { eventually } from '../interop/support/process.ts';
import { Scope } from '../interop/support/scope.ts';
import { inGuest, type Machine, NODE } from './support/machine.ts';
import type { Answer, Question, Settings } from './support/outside.ts';
import type { AhAnswer, AhSettings } from './support/outside-ah.ts';
import { withMachine } from './support/suite.ts';

withMachine('IPsec of ours in user space, that of the kernel inside', (machine) => {
  test.each(Object.keys(SUITES).flatMap((suite) => [false, true].map((esn) => [suite, esn] as const)))(
    'ESP with %s, ESN %s: echo requests are answered both ways, what comes twice or altered is dropped',
    async (name, esn) => {
      const { ask, guest, stats, close } = await across(machine(), name as keyof typeof SUITES, esn);
      try {
        expect(await ask({ requests: 5, octets: 56 })).toMatchObject({ answered: 5, late: 0, served: 0 });
        expect(await ask({ requests: 5, octets: 1200 })).toMatchObject({ answered: 5 });
        expect(await stats()).toMatchObject({ replay: 0, failed: 0, packets: 10 });
        expect(await ask({ requests: 3, octets: 56, twice: true, broken: true })).toMatchObject({ answered: 3 });
        expect(await stats()).toMatchObject({ replay: 3, failed: 3, packets: 13 });
        await guest.must('ping -q -c 3 -W 5 -I 10.2.0.1 10.1.0.1');
        const { served, drops } = await ask({ requests: 1, octets: 0 });
        expect({ served, drops }).toEqual({ served: 3, drops: { malformed: 0, replay: 0, icv: 0, padding: 0, dummy: 0 } });
      } finally {
        await close();
      }
    },
  );

  test.each(['tunnel', 'transport'] as const)(
    'AH in %s mode: echo requests are answered both ways, what comes twice or altered is dropped',
    async (mode) => {
      for (const esn of [false, true]) {
        const { ask, guest, stats, close, addresses } = await acrossAh(machine(), mode, esn);
        try {
          expect(await ask({ requests: 5, octets: 56 })).toMatchObject({ answered: 5, served: 0, packets: 5 });
          expect(await ask({ requests: 5, octets: 1200 })).toMatchObject({ answered: 5, packets: 10 });
          expect(await stats()).toMatchObject({ replay: 0, failed: 0, packets: 10 });
          expect(await ask({ requests: 3, octets: 56, twice: true, broken: true })).toMatchObject({ answered: 3, packets: 13 });
          expect(await stats()).toMatchObject({ replay: 3, failed: 3, packets: 13 });
          await guest.must(`ping -q -c 3 -W 5 -I ${addresses.remoteInside} ${addresses.inside}`);
          const { served, packets, drops } = await ask({ requests: 1, octets: 0 });
          expect([served, packets, Object.values(drops).filter((count) => count > 0)]).toEqual([3, 17, []]);
        } finally {
          await close();
        }
      }
    },
  );

  test('what is reordered on its way out of the kernel passes our window', async () => {
    const { ask, guest, close } = await across(machine(), 'AES-GCM', false);
    try {
      await guest.must('/usr/sbin/tc qdisc add dev eth0 root netem delay 200ms reorder 40%');
      const { answered, late, drops } = await ask({ requests: 100, octets: 56 });
      expect({ answered, drops }).toEqual({ answered: 100, drops: { malformed: 0, replay: 0, icv: 0, padding: 0, dummy: 0 } });
      expect(late).toBeGreaterThan(5);
    } finally {
      await guest.must('/usr/sbin/tc qdisc del dev eth0 root');
      await close();
    }
  });
});

/** What a test asks for. */
interface Across<Answered> {
  readonly guest: Machine['guest'];
  ask(question: Question): Promise<Answered>;
  /** What the kernel counted on the SA of what we send. */
  stats(): Promise<Readonly<Record<'replay' | 'failed' | 'packets', number>>>;
  close(): Promise<void>;
}

/** SAs and policies in the guest's kernel, ESP in UDP, and our process outside that has the same keys. */
async function across(machine: Machine, suite: keyof typeof SUITES, esn: boolean): Promise<Across<Answer>> {
  const { outside, inside, guest } = machine;
  const scope = new Scope();
  const { kernel, ours } = SUITES[suite];
  const stats = await secure(scope, machine, { protocol: 'esp', mode: 'tunnel', esn, keys: `${kernel} encap espinudp 4500 4500 0.0.0.0` });
  await guest.must(`rm -f ${SOCKET}; ${NODE} ${inGuest('support/encap-socket')} 4500 > ${SOCKET} 2>&1 & echo $! > ${SOCKET}.pid`);
  scope.defer('its socket', () => guest.must(`kill $(cat ${SOCKET}.pid)`));
  await eventually('the guest has its socket', async () => (await guest.run(`grep -q ready ${SOCKET}`)).status === 0);
  const settings: Settings = {
    ...{ local: outside.address, remote: inside.address, inside: outside.inside, remoteInside: inside.inside },
    ...{ spiIn: SPIS.back, spiOut: SPIS.there, esn },
    ...ours,
  };
  const dialogue = await begin(scope, outside, 'outside', settings);
  return { guest, ask: (question) => dialogue.ask(question), stats, close: () => scope.close() };
}

/** The same with AH, over raw sockets. */
async function acrossAh(
  machine: Machine,
  mode: AhSettings['mode'],
  esn: boolean,
): Promise<Across<AhAnswer> & { readonly addresses: Pick<AhSettings, 'inside' | 'remoteInside'> }> {
  const { outside, inside, guest } = machine;
  const scope = new Scope();
  const stats = await secure(scope, machine, { protocol: 'ah', mode, esn, keys: `auth-trunc 'hmac(sha256)' 0x${key(32)} 128` });
  const [local, remote] = [outside.address, inside.address];
  const addresses = mode === 'tunnel' ? { inside: outside.inside, remoteInside: inside.inside } : { inside: local, remoteInside: remote };
  const spis = { spiIn: SPIS.back, spiOut: SPIS.there };
  const settings: AhSettings = { local, remote, ...addresses, mode, esn, ...spis, integrity: 12, integrityKey: key(32) };
  const dialogue = await begin(scope, outside, 'outside-ah', settings);
  return { guest, addresses, ask: (question) => dialogue.ask(question), stats, close: () => scope.close() };
}

const begin = (scope: Scope, { namespace }: Machine['outside'], program: string, settings: object): Promise<Dialogue> =>
  Dialogue.start(scope, program, 'ip', [
    'netns',
    'exec',
    namespace,
    process.execPath,
    join('dist', '.tools', 'test', 'kernel', 'support', `${program}.js`),
    JSON.stringify(settings),
  ]);

interface Protection {
  readonly protocol: 'esp' | 'ah';
  readonly mode: 'tunnel' | 'transport';
  readonly esn: boolean;
  /** And what else ip-xfrm(8) is told of the SAs. */
  readonly keys: string;
}

/** @returns what asks the guest's kernel for its `stats` */
async function secure(
  scope: Scope,
  { guest, outside, inside }: Machine,
  { protocol, mode, esn, keys }: Protection,
): Promise<Across<unknown>['stats']> {
  const [there, back] = [`src ${outside.address} dst ${inside.address}`, `src ${inside.address} dst ${outside.address}`];
  // RFC 4302 §3.3.3.2.1: of IPv4, a kernel aligns AH to 32 bits where it is told to
  const flags = [...(esn ? ['esn'] : []), ...(protocol === 'ah' ? ['align4'] : [])];
  const window = `replay-window ${esn ? 128 : 32} ${flags.length > 0 ? `flag ${flags.join(' ')}` : ''}`;
  const state = `proto ${protocol} mode ${mode} reqid 1 ${window}`;
  const template = `proto ${protocol} reqid 1 mode ${mode}`;
  const nets =
    mode === 'tunnel'
      ? { out: `src ${inside.network} dst ${outside.network}`, in: `src ${outside.network} dst ${inside.network}` }
      : { out: back, in: there };
  await guest.must(`set -e; ip=/usr/sbin/ip
    $ip xfrm state add ${there} spi ${SPIS.there} ${state} ${keys}
    $ip xfrm state add ${back} spi ${SPIS.back} ${state} ${keys}
    $ip xfrm policy add ${nets.out} dir out tmpl ${back} ${template}
    $ip xfrm policy add ${nets.in} dir in tmpl ${there} ${template}`);
  scope.defer('its kernel', () => guest.must('/usr/sbin/ip xfrm state flush; /usr/sbin/ip xfrm policy flush'));
  return async () => {
    const listed = await guest.must(`/usr/sbin/ip -s xfrm state get ${there} proto ${protocol} spi ${SPIS.there}`);
    const count = (pattern: RegExp): number => Number(pattern.exec(listed)?.[1]);
    return {
      replay: count(/replay (\d+) failed/),
      failed: count(/failed (\d+)/),
      packets: count(/current:\s+\d+\(bytes\), (\d+)\(packets\)/),
    };
  };
}

const key = (octets: number): string => '0123456789abcdef'.repeat(8).slice(0, octets * 2);
/** The same keys in the words of both. */
const SUITES = {
  'AES-GCM': {
    kernel: `aead 'rfc4106(gcm(aes))' 0x${key(36)} 128`,
    ours: { encryption: 20, keyLength: 256, encryptionKey: key(36) },
  },
  'AES-CBC with HMAC-SHA-256': {
    kernel: `enc 'cbc(aes)' 0x${key(16)} auth-trunc 'hmac(sha256)' 0x${key(32)} 128`,
    ours: { encryption: 12, keyLength: 128, encryptionKey: key(16), integrity: 12, integrityKey: key(32) },
  },
  'ChaCha20-Poly1305': {
    kernel: `aead 'rfc7539esp(chacha20,poly1305)' 0x${key(36)} 128`,
    ours: { encryption: 28, encryptionKey: key(36) },
  },
} as const;
const SPIS = { there: 0x1001, back: 0x1002 };
const SOCKET = '/tmp/encap-socket';

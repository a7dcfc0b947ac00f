import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Dialogue } from '../interop/support/dialogue.ts';
import { eventually } from '../interop/support/process.ts';
import { Scope } from '../interop/support/scope.ts';
import { inGuest, type Machine, NODE } from './support/machine.ts';
import type { Answer, Question, Settings } from './support/outside.ts';
import { withMachine } from './support/suite.ts';

withMachine('ESP of ours in user space, ESP of the kernel inside', (machine) => {
  test.each(Object.keys(SUITES).flatMap((suite) => [false, true].map((esn) => [suite, esn] as const)))(
    '%s, ESN %s: echo requests are answered both ways, what comes twice or altered is dropped',
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

interface Across {
  readonly guest: Machine['guest'];
  ask(question: Question): Promise<Answer>;
  /** What the kernel counted on the SA of what we send. */
  stats(): Promise<Readonly<Record<'replay' | 'failed' | 'packets', number>>>;
  close(): Promise<void>;
}

/** SAs and policies in the guest's kernel, ESP in UDP, and our process outside that has the same keys. */
async function across({ guest, outside, inside }: Machine, suite: keyof typeof SUITES, esn: boolean): Promise<Across> {
  const scope = new Scope();
  const { kernel, ours } = SUITES[suite];
  const [there, back] = [`src ${outside.address} dst ${inside.address}`, `src ${inside.address} dst ${outside.address}`];
  const state = `proto esp mode tunnel reqid 1 replay-window ${esn ? '128 flag esn' : '32'}`;
  const encap = 'encap espinudp 4500 4500 0.0.0.0';
  const nets = { out: `src ${inside.network} dst ${outside.network}`, in: `src ${outside.network} dst ${inside.network}` };
  await guest.must(`set -e; ip=/usr/sbin/ip
    $ip xfrm state add ${there} spi ${SPIS.there} ${state} ${kernel} ${encap}
    $ip xfrm state add ${back} spi ${SPIS.back} ${state} ${kernel} ${encap}
    $ip xfrm policy add ${nets.out} dir out tmpl ${back} proto esp reqid 1 mode tunnel
    $ip xfrm policy add ${nets.in} dir in tmpl ${there} proto esp reqid 1 mode tunnel
    rm -f ${SOCKET}; ${NODE} ${inGuest('support/encap-socket')} 4500 > ${SOCKET} 2>&1 & echo $! > ${SOCKET}.pid`);
  scope.defer('the guest', () => guest.must(`kill $(cat ${SOCKET}.pid); /usr/sbin/ip xfrm state flush; /usr/sbin/ip xfrm policy flush`));
  await eventually('the guest has its socket', async () => (await guest.run(`grep -q ready ${SOCKET}`)).status === 0);
  const settings: Settings = {
    ...{ local: outside.address, remote: inside.address, inside: outside.inside, remoteInside: inside.inside },
    ...{ spiIn: SPIS.back, spiOut: SPIS.there, esn },
    ...ours,
  };
  const command = ['netns', 'exec', outside.namespace, process.execPath, OUTSIDE, JSON.stringify(settings)];
  const dialogue = await Dialogue.start(scope, 'ESP outside', 'ip', command);
  return {
    guest,
    ask: (question) => dialogue.ask(question),
    stats: async () => {
      const listed = await guest.must(`/usr/sbin/ip -s xfrm state get ${there} proto esp spi ${SPIS.there}`);
      const count = (pattern: RegExp): number => Number(pattern.exec(listed)?.[1]);
      return {
        replay: count(/replay (\d+) failed/),
        failed: count(/failed (\d+)/),
        packets: count(/current:\s+\d+\(bytes\), (\d+)\(packets\)/),
      };
    },
    close: () => scope.close(),
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
const OUTSIDE = join('dist', '.tools', 'test', 'kernel', 'support', 'outside.js');

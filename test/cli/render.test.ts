import pc from 'picocolors';
import { describe, expect, test } from 'vitest';
import type { DemoEvent } from '../../src/cli/demo/demo.ts';
import { DemoView } from '../../src/cli/render/demo.ts';
import { failureOf, renderFailure, renderMistakes } from '../../src/cli/render/errors.ts';
import { EventLog, renderEvent } from '../../src/cli/render/log.ts';
import { ProgressBar, renderProgress } from '../../src/cli/render/progress.ts';
import { renderSas } from '../../src/cli/render/sas.ts';
import { renderStatus } from '../../src/cli/render/status.ts';
import { Steps } from '../../src/cli/render/steps.ts';
import { flow, padEnd, table, truncate, width, wrap } from '../../src/cli/render/text.ts';
import {
  formatAge,
  formatAgo,
  formatBytes,
  formatBytesShort,
  formatCount,
  formatDuration,
  formatLatency,
} from '../../src/cli/render/units.ts';
import { ConfigError, NegotiationFailure } from '../../src/core/bytes/errors.ts';
import type { ProgressLine, SasDocument, StatusDocument } from '../../src/product/control/index.ts';
import { ikeSaDocument, isoClock } from '../../src/product/control/index.ts';
import { ikeSa, NOW, WALL } from '../product/control/fake-target.ts';

const plain = pc.createColors(false);
const at = (seconds: number) => new Date(WALL + seconds * 1000).toISOString();

describe('units', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [19_293_798, '18.4 MiB'],
    [851_443_712, '812.0 MiB'],
    [1024 * 1024 - 1, '1.0 MiB'],
    [4.8 * 2 ** 30, '4.8 GiB'],
    [2 ** 60, '1024.0 PiB'],
  ])('%i octets', (octets, text) => expect(formatBytes(octets)).toBe(text));
  test('short', () =>
    expect([812.4, 8.24, 0.5].map((mega) => formatBytesShort(mega * 2 ** 20))).toEqual(['812 MiB', '8.2 MiB', '512 KiB']));
  test('counts', () =>
    expect([0, 999, 13_902, 601_220, 1_000_000].map(formatCount)).toEqual(['0', '999', '13 902', '601 220', '1 000 000']));
  test.each([
    [0, '0s'],
    [-5000, '0s'],
    [11_000, '11s'],
    [252_000, '4m12s'],
    [3_120_000, '52m'],
    [13_680_000, '3h48m'],
    [86_400_000, '1d'],
    [90_000_000, '1d1h'],
    [301 * 86_400_000, '301d'],
  ])('%i ms', (millis, text) => expect(formatDuration(millis)).toBe(text));
  test('ages', () => expect([500, 2000, 252_000].map(formatAgo)).toEqual(['now', '2s ago', '4m12s ago']));
  test('only the largest unit', () => expect([252_000, 7_300_000, 90_000_000].map(formatAge)).toEqual(['4m', '2h', '1d']));
  test('latency', () => expect([0.84, 18.4, 1234].map(formatLatency)).toEqual(['0.8 ms', '18 ms', '1.2 s']));
});

describe('text', () => {
  test('width counts what a terminal shows', () => {
    expect(width('↓812 MiB')).toBe(8);
    expect(width('\u001b[32mup\u001b[39m')).toBe(2);
    expect(width('文字')).toBe(4);
    expect(width('e\u0301')).toBe(1);
    expect(padEnd('文', 4)).toBe('文  ');
  });
  test('truncation keeps within columns, whatever the characters', () => {
    expect(truncate('backup-of-everything.tar', 10)).toBe('backup-of…');
    expect(width(truncate('文字文字文字', 7))).toBeLessThanOrEqual(7);
    expect(truncate('short', 10)).toBe('short');
  });
  test('wrapping', () => {
    expect(wrap('one two three four', 9, '  ')).toBe('one two\n  three\n  four');
    expect(wrap('averyveryverylongword x', 5, '')).toBe('averyveryverylongword\nx');
  });
  test('parts break only between them', () => {
    expect(flow(['a b', 'c d', '', 'e f'], 12, '  ')).toBe('a b   c d\n  e f');
  });
  test('tables', () => {
    expect(
      table(
        [
          ['a', '1'],
          ['bbb', '22'],
        ],
        { right: [1] },
      ),
    ).toEqual(['a      1', 'bbb   22']);
  });
});

const sas = (...changes: Parameters<typeof ikeSa>): SasDocument => ({
  schema: 1,
  name: 'home',
  at: new Date(WALL).toISOString(),
  ikeSas: [ikeSaDocument(ikeSa(...changes), isoClock({ monotonic: NOW, wall: WALL }), 30_000)],
});

describe('sas', () => {
  test('the block, wide', () => {
    expect(
      renderSas([sas()], plain, 120),
    ).toBe(`road  #12  ESTABLISHED  responder  4m12s   rekey in 3h48m   203.0.113.7:4500 ⇄ 192.0.2.9:51004 (NAT: theirs)
  we    vpn.example.com    psk             spi 6f1c2a90e2b7d410_r
  them  alice@example.com  psk  10.66.0.5  spi 9a03d5574c1180fe_i
  suite aes256gcm16 / prfsha384 / x25519   fragmentation  dpd 30s (last 11s ago)
  └ net  #31  TUNNEL  aes256gcm16  pfs x25519   0.0.0.0/0 ⇄ 10.66.0.5   rekey in 52m
      in  c71fe402   18.4 MiB   13 902 pkt   2s ago   replay 3  bad 2
      out 0be2917a  812.0 MiB  601 220 pkt   now
1 IKE SA, 1 child SA
`);
  });

  test('the same in 80 columns: nothing is cut, nothing is wider', () => {
    const text = renderSas([sas({ assigned: ['10.66.0.5', 'fd5a:1c9e:77::5'], localAuth: 'RSA_DIGITAL_SIGNATURE' })], plain, 80);
    expect(text.split('\n').filter((line) => width(line) > 80)).toEqual([]);
    expect(text).toBe(`road  #12  ESTABLISHED  responder  4m12s   rekey in 3h48m
  203.0.113.7:4500 ⇄ 192.0.2.9:51004 (NAT: theirs)
  we    vpn.example.com  cert   spi 6f1c2a90e2b7d410_r
  them  alice@example.com  psk   10.66.0.5 fd5a:1c9e:77::5
        spi 9a03d5574c1180fe_i
  suite aes256gcm16 / prfsha384 / x25519   fragmentation  dpd 30s (last 11s ago)
  └ net  #31  TUNNEL  aes256gcm16  pfs x25519   0.0.0.0/0 ⇄ 10.66.0.5
      rekey in 52m
      in  c71fe402   18.4 MiB   13 902 pkt   2s ago   replay 3  bad 2
      out 0be2917a  812.0 MiB  601 220 pkt   now
1 IKE SA, 1 child SA
`);
  });

  test('addresses stay with the end that has them, whoever began the IKE SA that rekeyed the first', () => {
    const gateway = renderSas([sas({ role: 'initiator' })], plain, 120);
    expect(gateway).toMatch(
      / {2}we {4}vpn\.example\.com {4}psk {13}spi \w+_i\n {2}them {2}alice@example\.com {2}psk {2}10\.66\.0\.5 {2}spi \w+_r\n/,
    );
    const client = renderSas([sas({ role: 'responder', assignedToUs: true })], plain, 120);
    expect(client).toMatch(/ {2}we {4}vpn\.example\.com {4}psk {2}10\.66\.0\.5 {2}spi \w+_r\n/);
  });

  test('an initiator has its addresses at its own end, and no peer yet while it connects', () => {
    const text = renderSas(
      [
        sas({
          role: 'initiator',
          assignedToUs: true,
          state: 'authenticating',
          remoteId: undefined,
          establishedAt: undefined,
          rekeyAt: undefined,
          natTheirs: false,
          children: [],
        }),
      ],
      plain,
      120,
    );
    expect(text).toContain('road  #12  AUTHENTICATING  initiator   203.0.113.7:4500 ⇄ 192.0.2.9:51004\n');
    expect(text).toContain('  we    vpn.example.com  psk  10.66.0.5  spi 9a03d5574c1180fe_i\n');
    expect(text).toContain('  them  ?                psk             spi 6f1c2a90e2b7d410_r\n');
    expect(text).toContain('1 IKE SA, 0 child SAs\n');
  });

  test('what only waits to be forgotten is not shown', () => {
    expect(renderSas([sas({ state: 'lingering' })], plain, 80)).toBe('No IKE SA stands. To connect: tunnelwright up TARGET\n');
  });

  test('several instances are told apart', () => {
    const text = renderSas([sas(), { ...sas(), name: 'office', ikeSas: [] }], plain, 120);
    expect(text).toMatch(/^home:\nroad {2}#12/);
    expect(text).toContain('\noffice:\n  no IKE SA\n');
  });
});

describe('status', () => {
  const peer: StatusDocument['peers'][number] = {
    connection: 'staff',
    id: 'alice',
    state: 'up',
    since: at(-250),
    addresses: ['10.66.0.5'],
    bytesIn: 19_000_000,
    bytesOut: 851_443_712,
    rttMs: 12.4,
    suite: 'aes256gcm16/pfs x25519',
    plane: 'netstack',
    transport: 'udp',
    rekeyAt: at(3120),
    reason: null,
  };
  const gone = {
    ...peer,
    id: 'bob',
    state: 'down' as const,
    since: at(-7300),
    addresses: [],
    suite: null,
    rekeyAt: null,
    rttMs: null,
    reason: 'closed by peer (DELETE)',
  };
  const document = (peers: StatusDocument['peers'], role: StatusDocument['role'] = 'gateway'): StatusDocument => ({
    schema: 1,
    name: 'home',
    role,
    version: '1',
    pid: 1,
    startedAt: at(-9999),
    at: at(0),
    plane: 'netstack',
    planeChoice: null,
    espThread: null,
    enter: null,
    listen: ['203.0.113.7:500', '203.0.113.7:4500'],
    peers,
    load: { ikeSas: 1, halfOpen: 3, strangers: { cookies: 0, puzzles: 0, refusals: 7, silenced: 0, unknown: 0 }, workers: null },
  });

  test('under load: what strangers get, and how the workers do', () => {
    const flooded: StatusDocument = {
      ...document([]),
      load: {
        ikeSas: 40,
        halfOpen: 32,
        strangers: { cookies: 1_250_431, puzzles: 0, refusals: 7, silenced: 0, unknown: 12 },
        workers: {
          workers: 2,
          waiting: { trusted: 1, reachable: 4, stranger: 9 },
          underWay: 4,
          done: 5310,
          refused: 6,
          cancelled: 5,
          crashes: 0,
        },
      },
    };
    expect(renderStatus([flooded], plain, 120)).toBe(
      'Nobody is connected. Listening on 203.0.113.7:500, 203.0.113.7:4500.\n' +
        'Strangers: 1 250 431 asked for a cookie, 7 refused, 12 not among the known peers, 32 half-open now\n' +
        'Workers: 2, 5 310 done, 14 waiting, 6 put off\n',
    );
  });

  test('one line a peer', () => {
    expect(renderStatus([document([peer, gone])], plain, 100)).toBe(
      'alice   up 4m   10.66.0.5   ↓812 MiB ↑18 MiB   rtt 12ms   aes256gcm16   rekey 52m   netstack\nbob     down    last seen 2h ago: closed by peer (DELETE)\n',
    );
  });

  test('a client names its connections, and what it receives comes down', () => {
    const never = { ...gone, connection: 'branch', id: null, since: null, reason: null };
    expect(renderStatus([document([peer, never], 'client')], plain, 100)).toBe(
      'staff    up 4m   10.66.0.5   ↓18 MiB ↑812 MiB   rtt 12ms   aes256gcm16   rekey 52m   netstack\nbranch   down    not connected yet\n',
    );
  });

  test('narrow terminals lose the last columns first', () => {
    for (const columns of [40, 50, 60, 80])
      expect(
        renderStatus([document([peer, gone])], plain, columns)
          .split('\n')
          .filter((line) => width(line) > columns),
      ).toEqual([]);
    expect(renderStatus([document([peer])], plain, 50)).toBe('alice   up 4m   10.66.0.5   ↓812 MiB ↑18 MiB\n');
  });

  test('a column that nobody fills is left out', () => {
    expect(renderStatus([document([{ ...peer, rttMs: null }])], plain, 100)).toBe(
      'alice   up 4m   10.66.0.5   ↓812 MiB ↑18 MiB   aes256gcm16   rekey 52m   netstack\n',
    );
  });

  test('the plane, and what is missing for a better one', () => {
    const fix = 'Start it as root.';
    const planeChoice = { automatic: true, why: 'it is the best', better: [{ name: 'tun', why: 'it needs root', fix }] };
    expect(renderStatus([{ ...document([peer]), planeChoice }], plain, 160)).toBe(
      'alice   up 4m   10.66.0.5   ↓812 MiB ↑18 MiB   rtt 12ms   aes256gcm16   rekey 52m   netstack\n' +
        'data plane: netstack, in this process (no root needed); tun would serve better: it needs root (tunnelwright doctor)\n',
    );
  });

  test('nobody is a sentence', () => {
    expect(renderStatus([document([])], plain, 100)).toBe('Nobody is connected. Listening on 203.0.113.7:500, 203.0.113.7:4500.\n');
    expect(renderStatus([document([], 'client'), document([peer])], plain, 100)).toBe(
      'home:\n  Nobody is connected. To connect: tunnelwright up TARGET\nhome:\n  alice   up 4m   10.66.0.5   ↓812 MiB ↑18 MiB   rtt 12ms   aes256gcm16   rekey 52m   netstack\n',
    );
  });
});

describe('the steps of up', () => {
  const exchange = {
    event: 'exchange',
    at: at(0),
    initiator: true,
    remote: '203.0.113.7:500',
    requestOctets: 412,
    responseOctets: 444,
    took: 18,
    retransmissions: 0,
  };
  const steps = () => new Steps(plain, 100);

  test('exchanges', () => {
    expect(steps().take({ ...exchange, exchange: 'IKE_SA_INIT', summary: 'aes256gcm16 · prfsha384 · x25519' })).toBe(
      '  → IKE_SA_INIT   203.0.113.7:500   412 B → 444 B    18 ms   aes256gcm16 · prfsha384 · x25519',
    );
    expect(steps().take({ ...exchange, exchange: 'IKE_AUTH', retransmissions: 2, summary: '' })).toBe(
      '  → IKE_AUTH      203.0.113.7:500   412 B → 444 B    18 ms (3 copies)',
    );
    expect(steps().take({ ...exchange, exchange: 'INFORMATIONAL', initiator: false })).toBeUndefined();
  });

  test('what was found out', () => {
    const say = (event: Record<string, unknown>) => steps().take({ at: at(0), ...event } as Parameters<Steps['take']>[0]);
    expect(say({ event: 'nat', ours: true, theirs: false, forced: false })).toBe('  · NAT on our side, moving to UDP encapsulation');
    expect(say({ event: 'nat', ours: true, theirs: true, forced: false })).toBe('  · NAT on our side, moving to UDP encapsulation');
    expect(say({ event: 'nat', ours: false, theirs: false, forced: false })).toBeUndefined();
    expect(say({ event: 'peer', id: 'vpn.example.com', method: 'SHARED_KEY_MIC', description: 'psk' })).toBe(
      '  · vpn.example.com proved with the pre-shared key',
    );
    expect(say({ event: 'peer', id: 'vpn.example.com', method: 'DIGITAL_SIGNATURE', description: 'CN=vpn (CA "lab", 301 d left)' })).toBe(
      '  · vpn.example.com proved with a certificate: CN=vpn (CA "lab", 301 d left)',
    );
    expect(say({ event: 'peer', id: 'vpn.example.com', method: 'DIGITAL_SIGNATURE', description: 'Ed25519 sha256:ab (pinned)' })).toBe(
      '  · vpn.example.com proved with the public key Ed25519 sha256:ab (pinned)',
    );
    expect(say({ event: 'peer', id: '%null', method: 'NULL_AUTHENTICATION', description: 'nobody: it proved no identity' })).toBe(
      '  · the peer is nobody: it proved no identity; whoever is on the way could pose as it',
    );
    expect(say({ event: 'retransmit', exchange: 'IKE_SA_INIT', attempt: 2 })).toBe('  · no answer to IKE_SA_INIT yet, asked again (2)');
    expect(say({ event: 'addresses', addresses: ['10.66.0.5'], missing: [] })).toBeUndefined();
    expect(say({ event: 'addresses', addresses: ['10.66.0.5'], missing: ['IPv6'] })).toBe(
      '  · the peer gave no IPv6 address: no IPv6 through this tunnel',
    );
    expect(say({ event: 'addresses', addresses: ['10.66.0.5'], missing: ['IPv6'], served: ['IPv4'], ignored: ['evil.example: why'] })).toBe(
      '  · the peer gave no IPv6 address and has none: no IPv6 through this tunnel\n  · not heeded: evil.example: why',
    );
    expect(say({ event: 'rekey-tested', what: 'the IKE SA', suite: 'aes256gcm16/prfsha384/x25519' })).toBe(
      '  ✓ the IKE SA can be rekeyed: aes256gcm16 / prfsha384 / x25519',
    );
    expect(say({ event: 'rekey-tested', what: 'CHILD_SA net', suite: 'aes256gcm16/pfs x25519' })).toBe(
      '  ✓ CHILD_SA net can be rekeyed: aes256gcm16 / pfs x25519',
    );
    expect(say({ event: 'rekey-tested', what: 'CHILD_SA net', suite: 'aes256gcm16' })).toBe(
      '  ✓ CHILD_SA net can be rekeyed: aes256gcm16, without PFS',
    );
    const error = { message: 'the peer refused rekeying CHILD_SA net', hint: 'Set pfs: prefer for net here.' };
    expect(say({ event: 'rekey-tested', what: 'CHILD_SA net', error })).toBe(
      '  ✗ CHILD_SA net will end instead of being rekeyed: the peer refused rekeying CHILD_SA net\n  fix   Set pfs: prefer for net here.',
    );
    expect(say({ event: 'of a later version' })).toBeUndefined();
  });

  test('the end, with what the gateway gave', () => {
    const one = steps();
    one.take({ event: 'addresses', at: at(0), dns: ['10.66.0.1'], routes: ['10.0.0.0/8'], addresses: ['10.66.0.5'] });
    const [sa] = sas({ role: 'initiator' }).ikeSas;
    expect(one.up(sa!, 148, 'netstack')).toBe(
      '  ✓ up in 148 ms   10.66.0.5   dns 10.66.0.1   routes 10.0.0.0/8\n    data plane: netstack, in this process (no root needed)',
    );
    const better = [{ name: 'tun', why: 'it needs root, or CAP_NET_ADMIN', fix: 'Start it as root.' }];
    expect(one.up(sa!, 148, 'netstack', better).split('\n').slice(1)).toEqual([
      '    data plane: netstack, in this process (no root needed); tun would serve better: it needs root,',
      '    or CAP_NET_ADMIN (tunnelwright doctor)',
    ]);
    expect(one.up(sa!, 148, 'netns')).toContain('data plane: netns, for programs in a namespace of its own (no root needed)');
  });
});

describe('a log', () => {
  test('who came is told by name when they leave, whatever the IKE SA is called by then', () => {
    const log = new EventLog({ paint: plain, columns: 200, verbose: 0 });
    const line = (event: Record<string, unknown>) => log.line({ at: at(0), ...event } as Parameters<EventLog['line']>[0])?.slice(10);
    const down = (ikeSa: number) => line({ event: 'ike-down', ikeSa, connection: 'clients', reason: 'deleted by the operator' });
    line({ event: 'ike-up', ikeSa: 1, info: { remoteId: 'alice', remote: '192.0.2.9:500', suite: 's' } });
    line({ event: 'ike-rekeyed', from: 1, to: 2, byUs: false });
    expect(line({ event: 'ike-down', ikeSa: 1, connection: 'clients', reason: 'rekeyed' })).toBeUndefined();
    expect(down(2)).toBe('down  alice  #2  deleted by the operator');
    expect(down(2), 'nobody is remembered for ever').toBe('down  clients  #2  deleted by the operator');
  });
});

describe('failures', () => {
  const failure = failureOf(
    new NegotiationFailure('the gateway refused every proposal', {
      code: 'NO_PROPOSAL_CHOSEN',
      hint: 'ask for aes256-sha256-modp2048 on the gateway',
      section: 'RFC 7296 §2.7',
    }),
  );

  test('what, facts, fix, and why when asked', () => {
    expect(
      renderFailure(failure, plain, 100, { subject: 'corp', verbose: true, facts: [['we offered', '1 aes256gcm16-prfsha384-x25519']] }),
    ).toBe(
      '✗ corp: the gateway refused every proposal   exit 5\n  we offered  1 aes256gcm16-prfsha384-x25519\n  fix   ask for aes256-sha256-modp2048 on the gateway\n  why   RFC 7296 §2.7\n',
    );
  });

  test('long ones are wrapped under themselves', () => {
    expect(renderFailure(failure, plain, 30)).toBe(
      '✗ the gateway refused every\n  proposal   exit 5\n  fix   ask for\n        aes256-sha256-modp2048\n        on the gateway\n',
    );
  });

  test('a foreign error tells its message and asks for a report, without a stack', () => {
    expect(failureOf(new TypeError('x'))).toMatchObject({ type: 'InternalError', exit: 1, message: 'unexpected: x' });
  });

  test('several mistakes, one exit code', () => {
    const errors = ['a', 'b'].map((text) => new ConfigError(`f.yaml:1:1 ${text}: wrong`, { code: 'CONFIG_INVALID' }));
    expect(renderMistakes(errors, plain, 80)).toBe('✗ f.yaml:1:1 a: wrong\n✗ f.yaml:1:1 b: wrong   exit 2\n');
  });
});

describe('events', () => {
  const line = (event: Record<string, unknown>, verbose = 0) =>
    renderEvent({ at: at(0), ...event } as Parameters<typeof renderEvent>[0], plain, 200, verbose)?.slice(10);

  test('a peer comes, goes, and fails', () => {
    expect(
      line({ event: 'ike-up', ikeSa: 1, info: { remoteId: 'alice', remote: '192.0.2.9:500', suite: 's', assigned: ['10.66.0.5'] } }),
    ).toBe('up  alice  #1  192.0.2.9:500  10.66.0.5  s');
    expect(line({ event: 'ike-down', ikeSa: 1, connection: 'road', reason: 'gone' })).toBe('down  road  #1  gone');
    expect(
      line({
        event: 'ike-down',
        ikeSa: 1,
        connection: 'road',
        error: { code: 'PSK_MISMATCH', message: 'the key is wrong', hint: 'compare' },
      }),
    ).toBe('✗     road  #1  the key is wrong');
    expect(
      line({ event: 'ike-down', ikeSa: 1, connection: 'road', error: { code: 'CLOSED_BY_PEER', message: 'the peer closed the IKE SA' } }),
    ).toBe('down  road  #1  the peer closed the IKE SA');
    expect(line({ event: 'failed', connection: 'road', what: 'CHILD_SA net', error: { message: 'no', hint: 'do' } })).toBe(
      '✗     road  CHILD_SA net: no\n          fix   do',
    );
  });

  test('more with -v', () => {
    const quiet = ['child-up', 'child-down', 'child-rekeyed', 'ike-rekeyed', 'exchange', 'retransmit', 'drop', 'message'];
    expect(quiet.map((event) => line({ event }))).toEqual(quiet.map(() => undefined));
    expect(quiet.slice(0, -1).map((event) => typeof line({ event, requestOctets: 1, responseOctets: 1, took: 1 }, 1))).toEqual(
      quiet.slice(0, -1).map(() => 'string'),
    );
    expect(line({ event: 'ike-down', reason: 'rekeyed' })).toBeUndefined();
    expect(line({ event: 'message', direction: 'in', text: 'HDR' }, 2)).toBe('← HDR');
  });
});

const progress: ProgressLine = {
  event: 'progress',
  phase: 'sending',
  name: 'backup.tar',
  bytes: 3.1 * 2 ** 30,
  total: 4.8 * 2 ** 30,
  rate: 92 * 2 ** 20,
  eta: 19,
  resumedFrom: 0,
  retries: 0,
  retryIn: null,
};

describe('progress', () => {
  test('a bar with what fits beside it', () => {
    expect(renderProgress(progress, plain, 100)).toBe('backup.tar  ████████████████░░░░░░░░   64 %  3.1/4.8 GiB  92.0 MiB/s  eta 19s');
    for (const columns of [40, 50, 60, 80, 100])
      expect(
        width(renderProgress({ ...progress, name: 'a-very-long-name-of-a-file-that-somebody-chose.tar.gz' }, plain, columns)),
      ).toBeLessThanOrEqual(columns);
  });

  test.each([
    ['hashing', 'reading it for its digest'],
    ['connecting', 'connecting'],
    ['verifying', 'comparing digests'],
    ['done', 'done'],
  ] as const)('phase %s', (phase, text) => expect(renderProgress({ ...progress, phase }, plain, 120)).toContain(text));

  test('a connection that is lost and comes again', () => {
    expect(renderProgress({ ...progress, phase: 'waiting', retryIn: 4000 }, plain, 120)).toContain('connection lost, again in 4s');
    expect(renderProgress({ ...progress, retries: 2 }, plain, 120)).toContain('2 × reconnected');
  });

  test('of a tree it counts the files', () => {
    const tree = { ...progress, files: { done: 12_034, total: 34_000 } };
    expect(renderProgress(tree, plain, 120)).toContain('64 %  12 034/34 000 files  3.1/4.8 GiB  92.0 MiB/s');
  });

  test('an empty file is no division by nothing', () => {
    expect(renderProgress({ ...progress, bytes: 0, total: 0, phase: 'done' }, plain, 100)).toContain('100 %');
  });

  test('what is told meanwhile stands above it, and it goes on beneath', () => {
    const screen = new Screen(80);
    const bar = new ProgressBar(screen, plain);
    bar.above('before\n');
    bar.show(progress);
    bar.above('between\n');
    bar.show({ ...progress, bytes: progress.total });
    expect(screen.lines).toEqual(['before', 'between', expect.stringMatching(/^backup\.tar .*100 %/)]);
    bar.show({ ...progress, phase: 'done' });
    bar.above('after\n');
    expect(screen.lines).toEqual(['before', 'between', 'after', '']);
  });

  test('it is drawn over itself on a terminal, and silent elsewhere', () => {
    const shown = (isTty: boolean) => {
      let text = '';
      const write = (part: string): void => {
        text += part;
      };
      const bar = new ProgressBar({ isTty, columns: 80, write }, plain);
      bar.show(progress);
      bar.leave();
      bar.show({ ...progress, phase: 'done' });
      bar.leave();
      return text;
    };
    expect(shown(false)).toBe('');
    const [first, ...rest] = shown(true).split('\n');
    expect(first).toMatch(/backup\.tar .* eta 19s$/);
    expect(first!.startsWith('\r\u001b[2K')).toBe(true);
    expect(rest).toEqual(['\r\u001b[2K']);
  });
});

describe('the demo', () => {
  const gateway = { ip: '127.0.0.1', port: 45_500 };
  const event = (fields: Record<string, unknown>) => ({ kind: 'event', event: { at: at(0), ...fields } }) as DemoEvent;
  const at64 = (bytes: number): DemoEvent => ({ kind: 'progress', progress: { ...progress, bytes, total: 64 << 20, phase: 'sending' } });
  const told: DemoEvent[] = [
    { kind: 'workspace', file: { name: 'payload.bin', path: '/tmp/payload.bin', size: 64 << 20 } },
    { kind: 'gateway', pid: 31_374, ike: 48_770, nat: 43_845 },
    { kind: 'nat', fronts: [gateway, gateway] },
    at64(16 << 20),
    event({ event: 'child-rekeyed', byUs: true }),
    event({ event: 'retransmit', exchange: 'CREATE_CHILD_SA', attempt: 2 }),
    at64(32 << 20),
    event({ event: 'ike-rekeyed', byUs: true }),
  ];

  test('on a terminal of 80 columns every line fits, and the bar is there once, beneath everything else', () => {
    const screen = new Screen(80);
    const view = new DemoView(screen, plain);
    view.begin();
    for (const one of told) view.take(one);
    expect(screen.lines.at(-1)).toMatch(/^backup\.tar .* 50 % .* 32\.0\/64\.0 MiB/);
    expect(screen.lines.filter((line) => line.includes('█'))).toHaveLength(1);
    expect(screen.lines.slice(-5, -1)).toEqual([
      '  ↻ CHILD_SA rekeyed at 25 % of the file: new keys and SPIs, traffic went over',
      '  · no answer to CREATE_CHILD_SA yet, asked again (2)',
      '  ↻ IKE SA rekeyed at 50 % of the file: new SPIs and keys, the CHILD_SA moved',
      '    along',
    ]);
    view.take(event({ event: 'exchange', initiator: true }));
    view.leave();
    expect(screen.lines.at(-1)).toBe('');
  });

  test('in a pipe there is no bar and no control character', () => {
    let text = '';
    const write = (part: string): void => {
      text += part;
    };
    const view = new DemoView({ isTty: false, columns: 120, write }, plain);
    view.begin();
    for (const one of told) view.take(one);
    view.leave();
    expect(text).toMatch(/ {2}↻ CHILD_SA rekeyed at 25 % .*\n.*asked again \(2\)\n {2}↻ IKE SA rekeyed at 50 % .*\n$/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f█]/);
  });
});

/** As much of a terminal as the bar needs: lines, carriage returns, and erasing one line. */
class Screen {
  readonly isTty = true;
  readonly columns: number;
  readonly lines: string[] = [''];
  #column = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal obeys
    for (const [part] of text.matchAll(/\u001b\[2K|[\n\r]|[^\n\r\u001b]+/g)) {
      const last = this.lines.length - 1;
      if (part === '\n') this.#column = this.lines.push('') * 0;
      else if (part === '\r') this.#column = 0;
      else if (part === '\u001b[2K') this.lines[last] = '';
      else {
        this.lines[last] = this.lines[last]!.slice(0, this.#column).padEnd(this.#column) + part;
        this.#column += part.length;
      }
      expect(this.lines[last]!.length, 'it fits its line').toBeLessThanOrEqual(this.columns);
    }
  }
}

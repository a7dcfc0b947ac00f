import { describe, expect, test } from 'vitest';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  espProposal,
  establishedPair,
  expectNothingLeft,
  type Pair,
  type Peer,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { Insider, RawInitiator } from './insider.ts';
import { notify } from './roamers.ts';

const [CLIENT, SERVER] = ['192.0.2.1', '198.51.100.2'];

describe('NAT traversal (RFC 7296 §2.23)', () => {
  test('both messages of IKE_SA_INIT carry both NAT_DETECTION notifies', () => {
    const { net } = establishedPair();
    const init = net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT'));
    expect(init.map(({ from }) => from)).toEqual(['a', 'b']);
    for (const { summary } of init) {
      expect(summary).toContain('N(NAT_DETECTION_SOURCE_IP)');
      expect(summary).toContain('N(NAT_DETECTION_DESTINATION_IP)');
    }
  });

  test('a request from any port is answered there, a copy of it too', () => {
    const { net, a, b } = establishedPair();
    net.internet.core.intercept(() => []);
    a.checkLiveness();
    net.run(10);
    const before = b.sent.length;
    for (const port of [61_234, 1024]) b.inject(a.sent.at(-1)!.data.slice(), { ip: CLIENT, port });
    expect(b.sent.slice(before).map(({ remote }) => remote)).toEqual([
      { ip: CLIENT, port: 61_234 },
      { ip: CLIENT, port: 1024 },
    ]);
  });

  test('an end behind a NAT does not follow authentic messages to another address', () => {
    const { net, a, b } = establishedPair({ nat: {} });
    net.internet.core.intercept(({ source }) => (source.ip === SERVER ? [] : undefined));
    b.checkLiveness();
    net.run(10);
    const before = a.sent.length;
    a.inject(b.sent.at(-1)!.data.slice(), { ip: '198.51.100.77', port: 4500 }, true);
    // it is authentic, so it is answered
    expect(a.sent.length).toBe(before + 1);
    expect(a.ikeSas[0]!.remote).toEqual({ ip: SERVER, port: 4500 });
  });

  test('in transport mode behind a NAT a range of addresses does not stand for the one that is seen', () => {
    const child = childPolicy({
      mode: 'transport',
      localTs: ['dynamic'],
      remoteTs: ['dynamic'],
      proposals: [espProposal('aes128gcm16-noesn')],
    });
    const { net, b } = pair({ b: { connection: { children: [child] } } });
    const wrong = (type: number): Payload => ({ kind: 'N', notify: type, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(20) });
    const raw = new RawInitiator(net, b, {
      localTs: [subnet('10.0.0.0/24')],
      remoteTs: [subnet(SERVER)],
      initPayloads: (payloads) => [...payloads, wrong(NotifyType.NAT_DETECTION_SOURCE_IP), wrong(NotifyType.NAT_DETECTION_DESTINATION_IP)],
      authPayloads: (payloads) => [...payloads, notify(NotifyType.USE_TRANSPORT_MODE)],
    });
    raw.init();
    expect((raw.auth() ?? []).flatMap((p) => (p.kind === 'N' ? [p.notify] : []))).toContain(NotifyType.TS_UNACCEPTABLE);
    expect(b.heard('nat')[0]).toMatchObject({ theirs: true });
    expect(b.children).toEqual([]);
  });
});

/** Both begin at once, over a path that takes its time; what `a` answers to what `b` asked. */
function crossing(ofA: (a: Peer) => void, ofB: (b: Peer) => void): Pair & { readonly answer: string } {
  const made = establishedPair({ link: { delay: 10 } });
  const { net, a, b } = made;
  const before = net.transcript.messages.length;
  ofA(a);
  ofB(b);
  net.run(60);
  const answers = net.transcript.messages.slice(before).filter(({ from, summary }) => from === 'a' && summary.includes(' response '));
  return { ...made, answer: answers[0]!.summary.replace(/ response \d+/, '') };
}

describe('CHILD_SAs that both ends are busy with (RFC 7296 §2.25.1)', () => {
  test('a request to rekey one that is being deleted: TEMPORARY_FAILURE', () => {
    const { answer } = crossing(
      (a) => a.deleteChild(),
      (b) => b.rekeyChild(),
    );
    expect(answer).toMatch(/^CREATE_CHILD_SA +\{ N\(TEMPORARY_FAILURE\) \}$/);
  });

  test('a Delete of one that is being deleted is answered without a Delete', () => {
    const { net, answer, a, b } = crossing(
      (a) => a.deleteChild(),
      (b) => b.deleteChild(),
    );
    expect(answer).toMatch(/^INFORMATIONAL +\{ *\}$/);
    net.settle();
    expect([a.children, b.children]).toEqual([[], []]);
  });

  test('a Delete of one that is being rekeyed is answered with a Delete', () => {
    const { answer } = crossing(
      (a) => a.rekeyChild(),
      (b) => b.deleteChild(),
    );
    expect(answer).toMatch(/^INFORMATIONAL +\{ D \}$/);
  });

  test.each([
    ['made', (a: Peer) => a.createChild('net')],
    ['rekeyed', (a: Peer) => a.rekeyChild()],
    ['deleted', (a: Peer) => a.deleteChild()],
  ])('a child is being %s: rekeying the IKE SA has to wait', (_what, ofA) => {
    const { answer } = crossing(ofA, (b) => b.rekeyIke());
    expect(answer).toMatch(/^CREATE_CHILD_SA +\{ N\(TEMPORARY_FAILURE\) \}$/);
  });
});

describe('an IKE SA that both ends are busy with (RFC 7296 §2.25.2)', () => {
  test('a request to rekey it while it is being deleted: TEMPORARY_FAILURE', () => {
    const { answer } = crossing(
      (a) => a.deleteIke(),
      (b) => b.rekeyIke(),
    );
    expect(answer).toMatch(/^CREATE_CHILD_SA +\{ N\(TEMPORARY_FAILURE\) \}$/);
  });

  test('a Delete while it is being rekeyed is answered as usual, and the rekeying forgotten', () => {
    const { net, answer, a, b } = crossing(
      (a) => a.rekeyIke(),
      (b) => b.deleteIke(),
    );
    expect(answer).toMatch(/^INFORMATIONAL +\{ *\}$/);
    expect(a.ikeSas.every(({ state }) => state === 'lingering')).toBe(true);
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });

  test('a Delete that crosses ours is answered as usual; ours is forgotten, but not that it was ours', () => {
    const { net, answer, a, b } = crossing(
      (a) => a.deleteIke(),
      (b) => b.deleteIke(),
    );
    expect(answer).toMatch(/^INFORMATIONAL +\{ *\}$/);
    net.settle({ quiet: 120_000 });
    expect([a, b].map((peer) => peer.heard('retransmit').length)).toEqual([0, 0]);
    expect([a, b].flatMap((peer) => peer.heard('ike-down').map(({ error }) => error?.code))).toEqual([undefined, undefined]);
    expectNothingLeft(a, b);
  });

  test.each([
    ['make', (b: Peer) => b.createChild('net')],
    ['rekey', (b: Peer) => b.rekeyChild()],
  ])('it is being rekeyed: a request to %s a CHILD_SA has to wait', (_what, ofB) => {
    const { answer } = crossing((a) => a.rekeyIke(), ofB);
    expect(answer).toMatch(/^CREATE_CHILD_SA +\{ N\(TEMPORARY_FAILURE\) \}$/);
  });

  test('it is being rekeyed: a CHILD_SA is deleted as usual', () => {
    const { answer } = crossing(
      (a) => a.rekeyIke(),
      (b) => b.deleteChild(),
    );
    expect(answer).toMatch(/^INFORMATIONAL +\{ D \}$/);
  });
});

describe('what a refusal means to the end that asked (RFC 7296 §2.25)', () => {
  const requests = ({ net }: Pair) =>
    net.transcript.messages.filter(({ from, summary }) => from === 'a' && summary.startsWith('CREATE_CHILD_SA request')).length;

  test('TEMPORARY_FAILURE: not at once, but later it is asked again', () => {
    const made = establishedPair();
    const { net, a, b } = made;
    b.fault({ ask: 'install', outcome: 'fail' });
    a.createChild('net');
    net.run(900);
    expect(net.transcript.messages.at(-1)!.summary).toContain('N(TEMPORARY_FAILURE)');
    expect(requests(made)).toBe(1);
    net.run(10_000);
    expect(requests(made)).toBe(2);
    expect([a.children.length, b.children.length]).toEqual([2, 2]);
  });

  test('CHILD_SA_NOT_FOUND: the child goes without a Delete, and one is made from scratch', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(b, 'responder');
    const { outboundSpi, inboundSpi } = a.children[0]!;
    const stop = net.internet.core.intercept(({ source }) => (source.ip === SERVER ? [] : undefined));
    const before = net.transcript.messages.length;
    a.rekeyChild();
    net.run(10);
    const spi = new Uint8Array(4);
    new DataView(spi.buffer).setUint32(0, inboundSpi);
    const gone: Payload = { kind: 'N', notify: NotifyType.CHILD_SA_NOT_FOUND, protocol: 3, spi, data: new Uint8Array(0) };
    const flags = { initiator: false, response: true, version: false };
    a.inject(insider.request(ExchangeType.CREATE_CHILD_SA, 2, [gone], { flags }), { ip: SERVER, port: 500 });
    stop();
    net.settle();
    const asked = net.transcript.messages.slice(before).filter(({ from, summary }) => from === 'a' && summary.includes(' request '));
    expect(asked.map(({ summary }) => /N\(REKEY_SA\)|^INFORMATIONAL/.test(summary))).toEqual([true, false]);
    expect(a.children.map((child) => [child.state, child.outboundSpi === outboundSpi])).toEqual([['installed', false]]);
  });
});

import { describe, expect, test } from 'vitest';
import {
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  type PairOptions,
  pair,
} from '../../src/testing/index.ts';

const HYBRID = 'aes256gcm16-prfsha384-x25519-ke1_mlkem768';
const PLAIN = 'aes256gcm16-prfsha384-x25519';

const both = (ike: string, more: PairOptions = {}): PairOptions => ({
  ...more,
  connection: { proposals: [ikeProposal(ike)], ...more.connection },
});

describe('additional key exchanges of the first IKE SA (RFC 9242, RFC 9370)', () => {
  test('one IKE_INTERMEDIATE exchange for each, in their order, and the suite says so', () => {
    const made = pair(both('aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke3_ecp384'));
    const { net, a, b } = made;
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request { SA, KE, Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED), ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED), ... }
      a → b  IKE_INTERMEDIATE request { KE }
      b → a  IKE_INTERMEDIATE response { KE }
      a → b  IKE_INTERMEDIATE request { KE }
      b → a  IKE_INTERMEDIATE response { KE }
      a → b  IKE_AUTH request { IDi, AUTH, SA, TSi, TSr, ... }
      b → a  IKE_AUTH response { IDr, AUTH, SA, TSi, TSr, ... }
    `);
    net.settle();
    expectOneChild(a, b);
    for (const peer of [a, b]) expect(peer.ikeSas[0]!.suite).toBe('aes256gcm16/prfsha384/x25519/ke1_mlkem768/ke3_ecp384');
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each([
    ['D11 x25519 and ML-KEM-512', 'aes256gcm16-prfsha384-x25519-ke1_mlkem512'],
    ['D11 ECP-384 and ML-KEM-768', 'aes256gcm16-prfsha384-ecp384-ke1_mlkem768'],
    ['CBC with HMAC, x448 and ML-KEM-1024', 'aes256-sha384-prfsha384-x448-ke1_mlkem1024'],
    ['ChaCha20, three further ones', 'chacha20poly1305-prfsha512-x25519-ke1_ecp256-ke2_mlkem512-ke7_mlkem1024'],
  ])('%s: messages above the MTU go in fragments', (_what, words) => {
    const { net, a, b } = pair(both(words, { connection: { fragmentSize: 576 }, link: { mtu: 576, oversize: 'drop' } }));
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    const pieces = net.transcript.messages.filter((m) => m.summary.startsWith('IKE_INTERMEDIATE')).map((m) => m.datagrams.length);
    expect(Math.max(...pieces)).toBeGreaterThan(1);
    for (const { packet } of net.internet.capture.packets) expect(packet.data.length + 28).toBeLessThanOrEqual(576);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(Array.from({ length: 40 }, (_, i) => i + 1))('with loss, disorder and copies, in fragments, seed %i', (seed) => {
    const { net, a, b } = pair(
      both('aes256gcm16-prfsha384-x25519-ke1_mlkem512-ke2_ecp256', {
        seed,
        link: { loss: 0.1, jitter: 60, duplicate: 0.2, mtu: 576, oversize: 'drop' },
        connection: { fragmentSize: 576, retransmission: { initial: 500, base: 1.3, giveUp: 60_000 } },
        b: { limits: { halfOpenLife: 90_000 } },
      }),
    );
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expectInvariants(net);
  });

  test.each(['the first', 'the last'])('the answer to %s is lost: the copy is answered, although the keys have changed since', (which) => {
    const { net, a, b } = pair(both('aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384'));
    const messageId = which === 'the first' ? 1 : 2;
    let lost = 0;
    net.internet.core.intercept(({ source, data }) => {
      const [exchange, id] = [data.at(-1) === undefined ? 0 : data[18], data[23]];
      return source.ip === '198.51.100.2' && exchange === 43 && id === messageId && lost++ < 2 ? [] : undefined;
    });
    a.initiate();
    net.settle();
    expect(lost).toBe(3);
    expectOneChild(a, b);
    expect(b.heard('drop')).toEqual([]);
    expectTrafficBothWays(net, a, b);
  });

  test('an initiator that makes them optional reaches a responder without them, by the proposal beside', () => {
    const { net, a, b } = pair({
      a: { connection: { proposals: [ikeProposal(`${HYBRID}-ke1_none`)] } },
      b: { connection: { proposals: [ikeProposal(PLAIN)] } },
    });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(a.ikeSas[0]!.suite).toBe('aes256gcm16/prfsha384/x25519');
    expect(net.transcript.messages.some((m) => m.summary.startsWith('IKE_INTERMEDIATE'))).toBe(false);
  });

  test('an initiator that insists on them does not reach a responder without them', () => {
    const { net, a, b } = pair({
      a: { connection: { proposals: [ikeProposal(HYBRID)] } },
      b: { connection: { proposals: [ikeProposal(PLAIN)] } },
    });
    a.initiate();
    net.exchange('a → b  IKE_SA_INIT request { SA, KE, Ni, ... }');
    net.exchange('b → a  IKE_SA_INIT response { N(NO_PROPOSAL_CHOSEN) }');
    net.settle();
    expectNothingLeft(a, b);
  });

  test('a responder that makes them optional takes an initiator without them, and one that insists does not', () => {
    for (const [theirs, taken] of [
      [`${HYBRID}-ke1_none`, true],
      [HYBRID, false],
    ] as const) {
      const { net, a, b } = pair({
        a: { connection: { proposals: [ikeProposal(PLAIN)] } },
        b: { connection: { proposals: [ikeProposal(theirs)] } },
      });
      a.initiate();
      net.settle();
      if (taken) expectOneChild(a, b);
      else expectNothingLeft(a, b);
    }
  });

  test('INVALID_KE_PAYLOAD and a cookie before, further key exchanges behind', () => {
    const { net, a, b } = pair({
      a: { connection: { proposals: [ikeProposal('aes256gcm16-prfsha384-x25519-ecp384-ke1_mlkem768')] } },
      b: { connection: { proposals: [ikeProposal('aes256gcm16-prfsha384-ecp384-ke1_mlkem768')] }, limits: { cookieThreshold: 0 } },
    });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(a.ikeSas[0]!.suite).toBe('aes256gcm16/prfsha384/ecp384/ke1_mlkem768');
    expectInvariants(net);
  });

  test('the method of the first key exchange is not chosen again for a further one', () => {
    const { net, a, b } = pair(both('aes256gcm16-prfsha384-x25519-ecp256-ke1_x25519-ke1_ecp256-ke2_x25519-ke2_ecp256-ke2_ecp384'));
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(b.ikeSas[0]!.suite).toBe('aes256gcm16/prfsha384/x25519/ke1_ecp256/ke2_ecp384');
  });

  test('through a NAT', () => {
    const made = establishedPair(both(HYBRID, { nat: { mapping: 'address-and-port-dependent', filtering: 'address-and-port-dependent' } }));
    expectOneChild(made.a, made.b);
    expectTrafficBothWays(made.net, made.a, made.b);
  });
});

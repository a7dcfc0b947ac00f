import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../../../../src/core/bytes/index.ts';
import { encryptionTransforms, integrityTransforms } from '../../../../../src/core/crypto/index.ts';
import { Attributes, type MessageWriter } from '../../../../../src/host/platform/linux/netlink/codec.ts';
import { HostWriter } from '../../../../../src/host/platform/linux/netlink/host-order.ts';
import type { NetlinkSocket } from '../../../../../src/host/platform/linux/netlink/socket.ts';
import { getAccounting, setAccounting } from '../../../../../src/host/platform/linux/netlink/xfrm/accounting.ts';
import { hasKernelName } from '../../../../../src/host/platform/linux/netlink/xfrm/algorithms.ts';
import { parseEvent } from '../../../../../src/host/platform/linux/netlink/xfrm/events.ts';
import { migrate } from '../../../../../src/host/platform/linux/netlink/xfrm/migrate.ts';
import { addPolicy, deletePolicy, type NewPolicy, parsePolicy } from '../../../../../src/host/platform/linux/netlink/xfrm/policies.ts';
import {
  addState,
  allocateSpi,
  deleteState,
  type NewState,
  parseState,
  updateState,
} from '../../../../../src/host/platform/linux/netlink/xfrm/states.ts';
import { parseXfrmStatistics } from '../../../../../src/host/platform/linux/netlink/xfrm/statistics.ts';
import { XFRM_MSG, XFRMA } from '../../../../../src/host/platform/linux/netlink/xfrm/structs.ts';
import { describeLittleEndian, packed } from './bytes.ts';

/** Sizes and offsets are those that linux/xfrm.h has on machines that align 64 bits on 8 octets. */
const SIZES = { selector: 56, usersa: 224, policy: 168, policyId: 64, template: 64, aevent: 48, acquire: 280, expire: 232, polexpire: 176 };

const KEY = fromHex('000102030405060708090a0b0c0d0e0f a0a1a2a3');
const STATE: NewState = {
  source: '192.0.2.1',
  destination: '198.51.100.7',
  spi: 0xc1c2c3c4,
  protocol: 'esp',
  mode: 'tunnel',
  reqid: 0x11223344,
  keys: { encryption: 20, encryptionKey: KEY },
};
const POLICY: NewPolicy = {
  direction: 'fwd',
  action: 'block',
  priority: 0x01020304,
  selector: {
    family: 4,
    source: '10.1.0.0/16',
    destination: '10.2.3.0/24',
    protocol: 17,
    sourcePort: { port: 0x1200, mask: 0xff00 },
    destinationPort: { port: 53 },
    link: 9,
  },
};

describeLittleEndian('an SA as it is asked for', () => {
  test('has its fields where struct xfrm_usersa_info has them', () => {
    const { body, attributes } = asked(SIZES.usersa, (socket) =>
      addState(socket, {
        ...STATE,
        selector: { ...POLICY.selector },
        replayWindow: 32,
        lifetime: {
          softBytes: 1n,
          hardBytes: 0n,
          softPackets: 3n,
          hardPackets: 4n,
          softSeconds: 5,
          hardSeconds: 6,
          softUseSeconds: 7,
          hardUseSeconds: 8,
        },
        flags: { noEcn: true, noPmtuDisc: true },
      }),
    );
    // sel: destination and source, ports with their masks, family, lengths, protocol, interface, user
    expect(at(body, 0, 16)).toBe(packed('0a020300', '00'.repeat(12)));
    expect(at(body, 16, 16)).toBe(packed('0a010000', '00'.repeat(12)));
    expect(at(body, 32, 8)).toBe(packed('0035ffff', '1200ff00'));
    expect(at(body, 40, 16)).toBe(packed('0200', '18', '10', '11', '000000', '09000000', '00000000'));
    // id: address, SPI in network order, protocol; saddr
    expect(at(body, 56, 24)).toBe(packed('c6336407', '00'.repeat(12), 'c1c2c3c4', '32', '000000'));
    expect(at(body, 80, 16)).toBe(packed('c0000201', '00'.repeat(12)));
    // lft: a limit of none is all ones for octets and packets, and 0 for seconds
    expect(at(body, 96, 64)).toBe(
      [1n, 0xffff_ffff_ffff_ffffn, 3n, 4n, 5n, 6n, 7n, 8n].map((limit) => toHex(new HostWriter().u64(limit).written())).join(''),
    );
    // curlft, stats and seq are the kernel's
    expect(at(body, 160, 48)).toBe('00'.repeat(48));
    // reqid, family, mode, replay_window, flags
    expect(at(body, 208, 16)).toBe(packed('44332211', '0200', '01', '20', '05', '00'.repeat(7)));
    expect(attributes.entries().map(([type]) => type)).toEqual([XFRMA.ALG_AEAD]);
  });

  test('of AES-GCM carries name, lengths in bits, and the key with its salt', () => {
    const { attributes } = asked(SIZES.usersa, (socket) => addState(socket, STATE));
    const aead = attributes.bytes(XFRMA.ALG_AEAD)!;
    expect(aead).toHaveLength(72 + 20);
    expect(at(aead, 0, 64)).toBe(name('rfc4106(gcm(aes))'));
    expect(at(aead, 64, 8)).toBe(packed('a0000000', '80000000'));
    expect(at(aead, 72, 20)).toBe(toHex(KEY));
  });

  test('of AES-CBC with HMAC says how far the MAC is truncated', () => {
    const keys = { encryption: 12, encryptionKey: KEY.subarray(0, 16), integrity: 12, integrityKey: new Uint8Array(32).fill(0xee) };
    const { attributes } = asked(SIZES.usersa, (socket) => addState(socket, { ...STATE, keys }));
    expect(at(attributes.bytes(XFRMA.ALG_CRYPT)!, 0, 68)).toBe(packed(name('cbc(aes)'), '80000000'));
    const auth = attributes.bytes(XFRMA.ALG_AUTH_TRUNC)!;
    expect(at(auth, 0, 72)).toBe(packed(name('hmac(sha256)'), '00010000', '80000000'));
    expect(at(auth, 72, 32)).toBe('ee'.repeat(32));
    expect(attributes.has(XFRMA.ALG_AEAD)).toBe(false);
  });

  test('of a tunnel without selector takes both families, in transport mode only that of its ends', () => {
    const flags = (state: NewState): string => at(asked(SIZES.usersa, (socket) => addState(socket, state)).body, 216, 1);
    expect(flags(STATE)).toBe('20');
    expect(flags({ ...STATE, mode: 'transport' })).toBe('00');
    expect(flags({ ...STATE, esn: true })).toBe('a0');
  });

  test('with ESN or a large window has the large structure, and where the numbers stand', () => {
    const { body, attributes } = asked(SIZES.usersa, (socket) =>
      addState(socket, { ...STATE, esn: true, replayWindow: 65, sequence: { outbound: 0x1_0000_0002n, inbound: 0x3_0000_0004n } }),
    );
    expect(at(body, 215, 1)).toBe('00');
    // bmp_len, oseq, seq, oseq_hi, seq_hi, replay_window, bmp: none of what may have come before the highest comes again
    expect(toHex(attributes.bytes(XFRMA.REPLAY_ESN_VAL)!)).toBe(
      packed('03000000', '02000000', '04000000', '01000000', '03000000', '41000000', 'ff'.repeat(12)),
    );
    const wide = asked(SIZES.usersa, (socket) => addState(socket, { ...STATE, replayWindow: 33 }));
    expect(at(wide.body, 216, 1)).toBe('20');
    expect(wide.attributes.bytes(XFRMA.REPLAY_ESN_VAL)).toHaveLength(24 + 8);
    // the kernel refuses ESN without a window, on the way out as well
    const none = asked(SIZES.usersa, (socket) => addState(socket, { ...STATE, esn: true }));
    expect(at(none.attributes.bytes(XFRMA.REPLAY_ESN_VAL)!, 20, 4)).toBe('20000000');
    const small = asked(SIZES.usersa, (socket) =>
      addState(socket, { ...STATE, replayWindow: 32, sequence: { outbound: 5n, inbound: 6n } }),
    );
    expect(toHex(small.attributes.bytes(XFRMA.REPLAY_VAL)!)).toBe(packed('05000000', '06000000', 'ffffffff'));
  });

  test('carries encapsulation, marks, interface, offload, padding and flags in attributes of their own', () => {
    const { attributes } = asked(SIZES.usersa, (socket) =>
      addState(socket, {
        ...STATE,
        encap: { sourcePort: 4500, destinationPort: 0x1234 },
        mark: { value: 7 },
        setMark: { value: 8, mask: 0xff },
        ifId: 42,
        offload: { link: 3, inbound: true, packet: true },
        tfcPad: 1400,
        mappingSeconds: 60,
        flags: { dontEncapDscp: true, sequenceMayWrap: true },
      }),
    );
    const hex = (type: number): string => toHex(attributes.bytes(type)!);
    expect(hex(XFRMA.ENCAP)).toBe(packed('0200', '1194', '1234', '0000', '00'.repeat(16)));
    expect(hex(XFRMA.MARK)).toBe(packed('07000000', 'ffffffff'));
    expect(hex(XFRMA.SET_MARK) + hex(XFRMA.SET_MARK_MASK)).toBe(packed('08000000', 'ff000000'));
    expect(hex(XFRMA.IF_ID)).toBe('2a000000');
    expect(hex(XFRMA.OFFLOAD_DEV)).toBe(packed('03000000', '06', '000000'));
    expect(hex(XFRMA.TFCPAD)).toBe('78050000');
    expect(hex(XFRMA.MTIMER_THRESH)).toBe('3c000000');
    expect(hex(XFRMA.SA_EXTRA_FLAGS)).toBe('03000000');
  });

  test('of IPComp has no keys, of ESP has some', () => {
    const { body, attributes } = asked(SIZES.usersa, (socket) => addState(socket, comp()));
    expect(at(body, 76, 1)).toBe('6c');
    expect(toHex(attributes.bytes(XFRMA.ALG_COMP)!)).toBe(`${name('deflate')}00000000`);
    expect(() => asked(0, (socket) => addState(socket, { ...comp(), keys: STATE.keys! }))).toThrow('IPComp takes no keys');
    expect(() => asked(0, (socket) => addState(socket, { ...comp(), protocol: 'ah' }))).toThrow('needs keys');
  });

  test('is named by address, SPI, family and protocol, and reserved between two numbers', () => {
    const named = asked(24, (socket) => deleteState(socket, { ...STATE, destination: '2001:db8::1', mark: { value: 1, mask: 3 } }));
    expect(toHex(named.body)).toBe(packed('20010db8', '00'.repeat(11), '01', 'c1c2c3c4', '0a00', '32', '00'));
    expect(toHex(named.attributes.bytes(XFRMA.MARK)!)).toBe(packed('01000000', '03000000'));
    // userspi_info: the SA, min, max
    const reserved = asked(232, (socket) =>
      expect(() => allocateSpi(socket, STATE, { min: 0x100, max: 0x1ff })).toThrow('reserved no SPI'),
    );
    expect(at(reserved.body, 72, 4)).toBe('00000000');
    expect(at(reserved.body, 224, 8)).toBe(packed('00010000', 'ff010000'));
  });

  test('has its keys in no text that a failure would show', () => {
    const attempts: string[] = [];
    const request = (_: unknown, { attempt }: { attempt: string }): never[] => {
      attempts.push(attempt);
      return [];
    };
    const socket = { request } as unknown as NetlinkSocket;
    for (const verb of [addState, updateState, deleteState]) verb(socket, STATE);
    expect(attempts).toEqual(['add', 'update', 'delete'].map((verb) => `${verb} the kernel's SA ESP c1c2c3c4 to 198.51.100.7`));
  });
});

describe('algorithms', () => {
  test('that are negotiated have a name in the kernel, but for those that it does not know at all', () => {
    const unknown = encryptionTransforms().filter(({ id }) => !hasKernelName({ encryption: id }));
    expect(unknown.map((transform) => transform.name)).toEqual([
      'ENCR_CAMELLIA_CTR',
      'ENCR_CAMELLIA_CCM_8',
      'ENCR_CAMELLIA_CCM_12',
      'ENCR_CAMELLIA_CCM_16',
      'ENCR_AES_CCM_8_IIV',
      'ENCR_AES_GCM_16_IIV',
      'ENCR_CHACHA20_POLY1305_IIV',
    ]);
    const macs = integrityTransforms().filter(({ id }) => !hasKernelName({ integrity: id }));
    expect(macs.map((transform) => transform.name)).toEqual(['AUTH_AES_128_GMAC', 'AUTH_AES_192_GMAC', 'AUTH_AES_256_GMAC']);
  });

  test('that it does not know are refused before it is asked', () => {
    const keys = { encryption: 31, encryptionKey: new Uint8Array(36) };
    expect(() => asked(0, (socket) => addState(socket, { ...STATE, keys }))).toThrow(
      expect.objectContaining({ code: 'KERNEL_LACKS_ALGORITHM', message: expect.stringContaining('ENCR_CHACHA20_POLY1305_IIV') }),
    );
  });
});

describeLittleEndian('a policy as it is asked for', () => {
  test('has its fields where struct xfrm_userpolicy_info has them', () => {
    const { body, attributes } = asked(SIZES.policy, (socket) => addPolicy(socket, { ...POLICY, localOk: true, icmp: true }));
    expect(at(body, 56, 32)).toBe('ff'.repeat(32));
    expect(at(body, 88, 64)).toBe('00'.repeat(64));
    // priority, index, dir, action, flags, share
    expect(at(body, 152, 16)).toBe(packed('04030201', '00000000', '02', '01', '03', '00', '00000000'));
    expect(attributes.entries()).toEqual([]);
  });

  test('has its templates in one attribute', () => {
    const policy: NewPolicy = {
      ...POLICY,
      action: 'allow',
      templates: [
        { protocol: 'comp', mode: 'tunnel', source: '192.0.2.1', destination: '198.51.100.7', reqid: 5, optional: true },
        { protocol: 'esp', mode: 'transport', reqid: 6, spi: 0xcafe },
      ],
    };
    const templates = asked(SIZES.policy, (socket) => addPolicy(socket, policy)).attributes.bytes(XFRMA.TMPL)!;
    expect(templates).toHaveLength(2 * SIZES.template);
    // id, family, saddr, reqid, mode, share, optional, algorithms
    expect(toHex(templates)).toBe(
      packed(
        'c6336407',
        '00'.repeat(12),
        '00000000',
        '6c',
        '000000',
        '0200',
        '0000',
        'c0000201',
        '00'.repeat(12),
        '05000000',
        '01',
        '00',
        '01',
        '00',
        'ff'.repeat(12),
        '00'.repeat(16),
        '0000cafe',
        '32',
        '000000',
        '0200',
        '0000',
        '00'.repeat(16),
        '06000000',
        '00',
        '00',
        '00',
        '00',
        'ff'.repeat(12),
      ),
    );
    expect(parsePolicy(asked(SIZES.policy, (socket) => addPolicy(socket, policy)).whole)).toMatchObject({
      ...policy,
      templates: [policy.templates![0], { ...policy.templates![1], source: undefined, destination: undefined, optional: false }],
    });
  });

  test('for a network card says which, and that it is to do everything', () => {
    const { attributes, whole } = asked(SIZES.policy, (socket) => addPolicy(socket, { ...POLICY, offload: 3 }));
    expect(toHex(attributes.bytes(XFRMA.OFFLOAD_DEV)!)).toBe(packed('03000000', '04', '000000'));
    expect(parsePolicy(whole)?.offload).toBe(3);
  });

  test('is named by selector and direction', () => {
    const { body, attributes } = asked(SIZES.policyId, (socket) => deletePolicy(socket, { ...POLICY, ifId: 7 }));
    expect(at(body, 56, 8)).toBe(packed('00000000', '02', '000000'));
    expect(attributes.u32(XFRMA.IF_ID)).toBe(7);
  });

  test('and its SAs move by old and new addresses', () => {
    const { attributes } = asked(SIZES.policyId, (socket) =>
      migrate(
        socket,
        POLICY,
        [
          {
            protocol: 'esp',
            mode: 'tunnel',
            reqid: 9,
            oldSource: '10.0.0.1',
            oldDestination: '10.0.0.2',
            newSource: '2001:db8::1',
            newDestination: '2001:db8::2',
          },
        ],
        { ike: { local: '2001:db8::1', remote: '2001:db8::2' } },
      ),
    );
    const four = (last: string): string => `0a0000${last}${'00'.repeat(12)}`;
    const six = (last: string): string => `20010db8${'00'.repeat(11)}${last}`;
    expect(toHex(attributes.bytes(XFRMA.MIGRATE)!)).toBe(
      packed(four('02'), four('01'), six('02'), six('01'), '32', '01', '0000', '09000000', '0200', '0a00'),
    );
    expect(toHex(attributes.bytes(XFRMA.KMADDRESS)!)).toBe(packed(six('01'), six('02'), '00000000', '0a00', '0000'));
  });
});

describeLittleEndian('counters', () => {
  test('are asked for by struct xfrm_aevent_id', () => {
    const { body } = asked(SIZES.aevent, (socket) => getAccounting(socket, STATE));
    expect(toHex(body)).toBe(packed('c6336407', '00'.repeat(12), 'c1c2c3c4', '0200', '32', '00', '00'.repeat(16), '06000000', '00000000'));
  });

  test('are set with the window that the SA has', () => {
    const use = { bytes: 1n, packets: 2n, addedAt: 3, usedAt: 4 };
    const replay = { window: 64, esn: true, sequence: { outbound: 1n << 32n, inbound: 0n } };
    const { body, attributes } = asked(SIZES.aevent, (socket) => setAccounting(socket, STATE, { use, replay }));
    expect(at(body, 40, 4)).toBe('06000000');
    expect(attributes.bytes(XFRMA.LTIME_VAL)).toHaveLength(32);
    expect(at(attributes.bytes(XFRMA.REPLAY_ESN_VAL)!, 12, 4)).toBe('01000000');
  });

  test('of the kernel come by its own names', () => {
    expect(parseXfrmStatistics('XfrmInError             \t0\nXfrmInNoStates          \t12\nnonsense\n')).toEqual({
      XfrmInError: 0,
      XfrmInNoStates: 12,
    });
  });
});

describeLittleEndian('what the kernel tells', () => {
  const selector = (): string => asked(SIZES.policy, (socket) => addPolicy(socket, POLICY)).hex.slice(0, 112);
  const policy = (): string => asked(SIZES.policy, (socket) => addPolicy(socket, POLICY)).hex;
  const state = (): string => toHex(asked(SIZES.usersa, (socket) => addState(socket, STATE)).body);
  const v4 = (last: string): string => `c00002${last}${'00'.repeat(12)}`;
  const event = (type: number, hex: string) => parseEvent({ type, flags: 0, sequence: 0, port: 0, body: fromHex(hex) });

  test('an SA, but not its keys', () => {
    const whole = asked(SIZES.usersa, (socket) =>
      addState(socket, { ...STATE, encap: { sourcePort: 4500, destinationPort: 4501 }, ifId: 3, esn: true, replayWindow: 128 }),
    ).whole;
    const seen = parseState(whole)!;
    expect(seen).toMatchObject({
      source: '192.0.2.1',
      destination: '198.51.100.7',
      spi: 0xc1c2c3c4,
      protocol: 'esp',
      mode: 'tunnel',
      reqid: 0x11223344,
      selector: undefined,
      esn: true,
      replayWindow: 128,
      encap: { kind: 'udp', sourcePort: 4500, destinationPort: 4501 },
      ifId: 3,
      algorithms: { aead: { name: 'rfc4106(gcm(aes))', keyBits: 160, icvBits: 128 } },
    });
    const text = JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? Number(value) : value));
    expect(text).not.toContain(toHex(KEY));
    expect(text).not.toContain([...KEY.subarray(0, 4)].join(','));
  });

  test('a packet that found no SA', () => {
    const template = packed('00'.repeat(20), '32', '000000', '0200', '0000', '00'.repeat(16), '63000000', '00'.repeat(4), 'ff'.repeat(12));
    const hex = packed(
      v4('02'),
      '00000000',
      '32',
      '000000',
      v4('01'),
      selector(),
      policy(),
      'ff'.repeat(12),
      '2a000000',
      '4400',
      '0500',
      template,
    );
    expect(hex).toHaveLength(2 * (SIZES.acquire + 4 + SIZES.template));
    expect(event(XFRM_MSG.ACQUIRE, hex)).toMatchObject({
      kind: 'acquire',
      source: '192.0.2.1',
      destination: '192.0.2.2',
      protocol: 'esp',
      sequence: 42,
      selector: { source: '10.1.0.0/16', protocol: 17, destinationPort: { port: 53, mask: 0xffff } },
      policy: { direction: 'fwd', priority: 0x01020304, templates: [{ reqid: 99, mode: 'transport', protocol: 'esp' }] },
    });
  });

  test.each([
    ['00', false],
    ['01', true],
  ])('that a lifetime ended: hard %s', (octet, hard) => {
    expect(event(XFRM_MSG.EXPIRE, `${state()}${octet}00000000000000`)).toMatchObject({ kind: 'expire', hard, state: { spi: 0xc1c2c3c4 } });
    expect(event(XFRM_MSG.POLEXPIRE, `${policy()}${octet}00000000000000`)).toMatchObject({ kind: 'policy-expire', hard });
  });

  test('that a NAT has a new mapping', () => {
    const id = packed(v4('07'), 'c1c2c3c4', '0200', '32', '00');
    expect(event(XFRM_MSG.MAPPING, `${id}05000000${v4('01')}${v4('02')}11941195`)).toEqual({
      kind: 'mapping',
      id: { destination: '192.0.2.7', spi: 0xc1c2c3c4, protocol: 'esp' },
      reqid: 5,
      oldSource: '192.0.2.1',
      oldPort: 4500,
      newSource: '192.0.2.2',
      newPort: 4501,
    });
  });

  test('that SAs moved', () => {
    const moved = packed('5000', '1100', v4('02'), v4('01'), v4('04'), v4('03'), '32', '01', '0000', '09000000', '0200', '0200');
    expect(event(XFRM_MSG.MIGRATE, `${selector()}0000000001000000${moved}`)).toMatchObject({
      kind: 'migrate',
      policy: { direction: 'out' },
      migrations: [{ reqid: 9, oldSource: '192.0.2.1', oldDestination: '192.0.2.2', newSource: '192.0.2.3', newDestination: '192.0.2.4' }],
    });
  });

  test('that something was deleted or flushed', () => {
    const id = packed(v4('07'), 'c1c2c3c4', '0200', '32', '00');
    // XFRMA_SA of 228 octets, XFRMA_POLICY of 172
    expect(event(XFRM_MSG.DELSA, `${id}e4000600${state()}08001f0007000000`)).toMatchObject({
      kind: 'state',
      change: 'deleted',
      state: { spi: 0xc1c2c3c4, ifId: 7 },
    });
    expect(event(XFRM_MSG.DELPOLICY, `${selector()}0000000002000000ac000700${policy()}`)).toMatchObject({
      kind: 'policy',
      change: 'deleted',
      policy: { direction: 'fwd', action: 'block' },
    });
    expect(event(XFRM_MSG.FLUSHSA, '32')).toEqual({ kind: 'states-flushed', protocol: 'esp' });
    expect(event(XFRM_MSG.FLUSHPOLICY, '')).toEqual({ kind: 'policies-flushed' });
  });

  test('a report, and counters with their cause', () => {
    expect(event(XFRM_MSG.REPORT, `33000000${selector()}`)).toMatchObject({ kind: 'report', protocol: 'ah' });
    const aevent = packed(v4('07'), 'c1c2c3c4', '0200', '32', '00', v4('01'), '10000000', '05000000');
    const replay = `10000a00${'07000000'}${'08000000'}${'00000000'}`;
    expect(event(XFRM_MSG.NEWAE, packed(aevent, replay))).toMatchObject({
      kind: 'accounting',
      accounting: { cause: 'replay', reqid: 5, source: '192.0.2.1', sequence: { outbound: 7n, inbound: 8n } },
    });
  });

  test('nothing that is not IPsec, and never reads past an end', () => {
    // IPPROTO_ROUTING, of Mobile IPv6
    const foreign = `${state().slice(0, 152)}2b${state().slice(154)}`;
    expect(event(XFRM_MSG.NEWSA, foreign)).toBeUndefined();
    expect(event(0x99, '')).toBeUndefined();
    const whole = fromHex(packed(state(), '08001f0007000000'));
    for (const type of Object.values(XFRM_MSG))
      for (let length = 0; length <= whole.length; length += 3) {
        try {
          parseEvent({ type, flags: 0, sequence: 0, port: 0, body: whole.subarray(0, length) });
        } catch (error) {
          expect(error).toMatchObject({ code: 'MALFORMED_NETLINK' });
        }
      }
  });
});

describe('whatever comes from a socket', () => {
  test('is an event, or none, or malformed', () => {
    const whole = asked(SIZES.usersa, (socket) =>
      addState(socket, { ...STATE, encap: { sourcePort: 1, destinationPort: 2 }, esn: true, replayWindow: 64, ifId: 3 }),
    ).whole;
    const policy = asked(SIZES.policy, (socket) =>
      addPolicy(socket, { ...POLICY, templates: [{ protocol: 'esp', mode: 'tunnel', reqid: 1 }] }),
    ).whole;
    let seed = 1;
    const next = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return (seed >>> 8) % below;
    };
    let events = 0;
    for (let round = 0; round < 4_000; round++) {
      const body = (round % 2 === 0 ? whole : policy).slice();
      for (let i = 0; i <= next(4); i++) body[next(body.length)] = next(256);
      try {
        if (
          parseEvent({ type: 0x10 + next(0x18), flags: 0, sequence: 0, port: 0, body: body.subarray(0, body.length - next(3) * next(20)) })
        )
          events++;
      } catch (error) {
        expect(error).toMatchObject({ code: 'MALFORMED_NETLINK' });
      }
    }
    expect(events).toBeGreaterThan(100);
  });
});

const comp = (): NewState => {
  const { keys: _, ...rest } = STATE;
  return { ...rest, protocol: 'comp', spi: 0x1234 };
};

const name = (text: string): string => toHex(new HostWriter().text(text, 64).written());
const at = (body: Uint8Array, offset: number, length: number): string => toHex(body.subarray(offset, offset + length));

/** What one request puts behind its header: a structure of so many octets, then attributes. */
function asked(size: number, ask: (socket: NetlinkSocket) => unknown) {
  let whole = new Uint8Array(0);
  const record = (request: MessageWriter): never[] => {
    whole = request.finish(0).slice(16);
    return [];
  };
  ask({ request: record } as unknown as NetlinkSocket);
  const body = whole.subarray(0, size);
  return { whole, body, hex: toHex(body), attributes: Attributes.parse(whole.subarray(size)) };
}

import { describe, expect, test } from 'vitest';
import { optIn } from '../../../src/core/crypto/index.ts';
import { TransformType } from '../../../src/core/wire/index.ts';
import { formatProposalWords, type ProposalProtocol, parseProposals } from '../../../src/product/config/index.ts';
import { DEFAULT_PROPOSALS, optInWarnings } from '../../../src/product/config/proposals.ts';

const words = (text: string, protocol: ProposalProtocol, legacy = false) => {
  const parsed = parseProposals([text], protocol, legacy);
  return parsed.ok ? parsed.value.map(formatProposalWords) : `${parsed.message} → ${parsed.hint ?? ''}`;
};

describe('accepted', () => {
  test.each<[string, ProposalProtocol, string[]]>([
    ['aes256gcm16-prfsha384-x25519', 'IKE', ['aes256gcm16-prfsha384-x25519']],
    ['AES256GCM16-PRFSHA384-X25519', 'IKE', ['aes256gcm16-prfsha384-x25519']],
    // As swanctl.conf has it: the PRF follows from the integrity algorithm.
    ['aes128-sha256-x25519', 'IKE', ['aes128-prfsha256-sha256-x25519']],
    ['aes256-aes128-sha384-sha256-ecp384-ecp256', 'IKE', ['aes256-aes128-prfsha384-prfsha256-sha384-sha256-ecp384-ecp256']],
    ['aes256-sha256-prfsha512-modp3072', 'IKE', ['aes256-prfsha512-sha256-modp3072']],
    ['aes128gcm128-prfsha256-curve25519', 'IKE', ['aes128gcm16-prfsha256-x25519']],
    [
      'chacha20poly1305-prfsha256-x25519, aes256-sha512-ecp521',
      'IKE',
      ['chacha20poly1305-prfsha256-x25519', 'aes256-prfsha512-sha512-ecp521'],
    ],
    ['aes128gcm128-x25519', 'ESP', ['aes128gcm16-x25519-esn-noesn']],
    ['aes256gcm16', 'ESP', ['aes256gcm16-esn-noesn']],
    ['aes256-sha256-noesn', 'ESP', ['aes256-sha256-noesn']],
    ['aes128gcm128-esn-x25519', 'ESP', ['aes128gcm16-x25519-esn']],
    ['null-sha256', 'ESP', ['null-sha256-esn-noesn']],
    ['aes128gmac', 'ESP', ['aes128gmac-esn-noesn']],
    ['aes256gcm16iiv-aes256gcm16-esn', 'ESP', ['aes256gcm16iiv-aes256gcm16-esn']],
    ['chacha20poly1305iiv', 'ESP', ['chacha20poly1305iiv-esn-noesn']],
    ['camellia128-sha256-ecp256bp', 'IKE', ['camellia128-prfsha256-sha256-ecp256bp']],
    ['camellia256ccm128-prfsha512-ecp512bp', 'IKE', ['camellia256ccm16-prfsha512-ecp512bp']],
    ['camellia192ctr-sha256_96', 'ESP', ['camellia192ctr-sha256_96-esn-noesn']],
    ['aes256-sha256_96-x25519', 'IKE', ['aes256-prfsha256-sha256_96-x25519']],
    // As swanctl.conf has it: one word for GMAC.
    ['aes128gmac-aes256gmac', 'AH', ['aes128gmac_ah-aes256gmac_ah-esn-noesn']],
    ['aes192gmac_ah-noesn', 'AH', ['aes192gmac_ah-noesn']],
    ['sha256-sha384', 'AH', ['sha256-sha384-esn-noesn']],
    ['sha512-x25519-esn', 'AH', ['sha512-x25519-esn']],
    ['aes256gcm16-prfsha384-x25519-ke1_mlkem768', 'IKE', ['aes256gcm16-prfsha384-x25519-ke1_mlkem768']],
    [
      'aes256gcm16-prfsha384-x25519-ke2_ecp384-ke1_mlkem768-ke1_mlkem1024-ke1_none',
      'IKE',
      ['aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_mlkem1024-ke1_none-ke2_ecp384'],
    ],
    ['aes256gcm16-x25519-ke1_mlkem512', 'ESP', ['aes256gcm16-x25519-esn-noesn-ke1_mlkem512']],
    [
      'default',
      'IKE',
      [
        'aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-ecp256-ecp384',
        'aes256-aes128-prfsha256-prfsha384-sha256-sha384-x25519-ecp256-modp2048-modp3072',
      ],
    ],
    [
      'default',
      'ESP',
      [
        'aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-ecp384-esn-noesn',
        'aes256-sha256-x25519-ecp256-modp2048-modp3072-esn-noesn',
      ],
    ],
  ])('%s for %s', (text, protocol, expected) => {
    expect(words(text, protocol)).toEqual(expected);
  });

  test('proposals are numbered in order of preference', () => {
    const parsed = parseProposals(['aes256gcm16-prfsha384-x25519', 'default'], 'IKE', false);
    expect(parsed.ok && parsed.value.map((proposal) => proposal.number)).toEqual([1, 2, 3]);
  });
});

describe('refused, with what to write instead', () => {
  test.each<[string, ProposalProtocol, string | RegExp]>([
    [
      'aes256gcm16-sha384-ecp384',
      'IKE',
      '"aes256gcm16-sha384-ecp384" has sha384, but aes256gcm16 brings its own integrity → Write prfsha384 in the place of sha384.',
    ],
    ['aes256gcm16-sha384-prfsha384-ecp384', 'IKE', /has sha384, but aes256gcm16 brings its own integrity → Leave sha384 out\.$/],
    ['aes256gcm16-sha256', 'ESP', '"aes256gcm16-sha256" has sha256, but aes256gcm16 brings its own integrity → Leave sha256 out.'],
    ['aes256-x25519', 'IKE', '"aes256-x25519" lacks an integrity algorithm, which aes256 needs → Write aes256-sha256-x25519.'],
    ['aes128ctr', 'ESP', '"aes128ctr" lacks an integrity algorithm, which aes128ctr needs → Write aes128ctr-sha256.'],
    ['aes256gcm16-x25519', 'IKE', '"aes256gcm16-x25519" lacks a PRF → Write aes256gcm16-prfsha384-x25519.'],
    ['aes256gcm16-prfsha384', 'IKE', '"aes256gcm16-prfsha384" lacks a key exchange method → Write aes256gcm16-prfsha384-x25519.'],
    ['aes256gcm16-prfsha384-none', 'IKE', /lacks a key exchange method/],
    ['aes256gcm16-prfsha384-x25519-none', 'IKE', /would make the key exchange optional, which IKE has not/],
    ['aes-sha256-x25519', 'IKE', '"aes" in "aes-sha256-x25519" lacks the length of its key → Write aes256 or aes128.'],
    [
      'aesgcm16-prfsha256-x25519',
      'IKE',
      '"aesgcm16" in "aesgcm16-prfsha256-x25519" lacks the length of its key → Write aes256gcm16 or aes128gcm16.',
    ],
    [
      'chacha20poly1305256',
      'ESP',
      '"chacha20poly1305256" in "chacha20poly1305256" has a key length, and ChaCha20 has but one → Write chacha20poly1305.',
    ],
    [
      'aes256gcm16-aes256-sha256-prfsha256-x25519',
      'IKE',
      /mixes aes256gcm16, which brings its own integrity, with ciphers that do not → Make two proposals/,
    ],
    ['null-sha256-prfsha256-x25519', 'IKE', /would leave IKE unencrypted/],
    ['aes256gcm16-prfsha384-x25519-esn', 'IKE', /has sequence numbers in it, which IKE has not/],
    ['aes256gcm16-prfsha384', 'ESP', /has a PRF in it, which ESP has not/],
    ['aes256-sha256', 'AH', /has a cipher in it, which AH has not/],
    ['x25519', 'AH', /lacks an integrity algorithm/],
    ['sha256-x25519', 'ESP', /lacks a cipher/],
    ['default', 'AH', 'there are no default proposals for AH → Write for instance sha256-x25519.'],
    ['aes256gcm16-prfsha384-x25519-x25519', 'IKE', '"x25519" stands twice in "aes256gcm16-prfsha384-x25519-x25519" → '],
    ['aes256gcm16-aes256gcm128-prfsha384-x25519', 'IKE', /"aes256gcm128" stands twice/],
    [
      'aes256gcm16-prfsha348-x25519',
      'IKE',
      '"prfsha348" in "aes256gcm16-prfsha348-x25519" is no algorithm known here → Did you mean prfsha384?',
    ],
    ['aes256gcm16--x25519', 'IKE', /has an empty place between dashes/],
    ['aes256gcm16-prfsha384-x25519,', 'IKE', /has an empty place between commas/],
    [
      'aes256gcm16-ke1_mlkem768',
      'ESP',
      '"aes256gcm16-ke1_mlkem768" has additional key exchanges, but no first one that they could follow → Add for instance x25519.',
    ],
    ['aes256gcm16-x25519-none-ke1_mlkem768', 'ESP', /no first one that they could follow/],
    [
      'aes256gcm16-prfsha384-x25519-ke1_x25519',
      'IKE',
      /would need one key exchange method twice → Give each of its key exchanges a method/,
    ],
    ['aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_mlkem768-ke1_none', 'IKE', /would need one key exchange method twice/],
    ['aes256gcm16-prfsha384-x25519-ke1_none', 'IKE', /has ke1_none and no method that it would make optional/],
    ['aes256gcm16-prfsha384-x25519-ke8_mlkem768', 'IKE', /"ke8_mlkem768" in .* is no algorithm known here/],
    ['des-md5-modp768', 'IKE', /^des is broken and never negotiated/],
    ['blowfish256-sha512-modp2048', 'IKE', /^blowfish256 must not be negotiated any more/],
    ['idea-sha256-x25519', 'IKE', /^idea must not be negotiated any more/],
    ['aes256-sha1-modp2048', 'IKE', /"sha1" in .* is off: it rests on SHA-1.* → Ask the other end for SHA-2, or set legacy: yes/],
    [
      'aes256-sha256-modp1024',
      'IKE',
      /"modp1024" in .* is off: it is a group that .* can break.* → Ask the other end for modp2048 or ecp256, or set legacy: yes on this connection \(--legacy\)\.$/,
    ],
    ['3des-sha256-x25519', 'IKE', /"3des" in .* is off: it has blocks of 64 bits/],
    ['aes256-sha256-modp2048s256', 'IKE', /is off: it has a prime that nobody can show to be free of a trapdoor/],
    ['aes256-sha256-ecp192', 'IKE', /is off: it is a curve of less than 128 bits/],
    ['aes128gmac-prfsha256-x25519', 'IKE', /would leave IKE unencrypted/],
    [
      'aes256gcm16iiv-prfsha256-x25519',
      'IKE',
      '"aes256gcm16iiv-prfsha256-x25519" has aes256gcm16iiv, which is for ESP alone: IKE messages carry nothing to take the IV from (RFC 8750 §7) → Write aes256gcm16.',
    ],
    ['aes256gcm16-chacha20poly1305iiv-prfsha256-x25519', 'IKE', /has chacha20poly1305iiv, which is for ESP alone/],
    [
      'aes128-aes128gmac_ah',
      'ESP',
      '"aes128-aes128gmac_ah" has aes128gmac_ah, which is an integrity algorithm of AH alone (RFC 4543 §5.3) → Write aes128gmac in the place of cipher and integrity.',
    ],
    ['aes128-aes128gmac_ah-prfsha256-x25519', 'IKE', /of AH alone \(RFC 4543 §5\.3\) → Write sha256\.$/],
    ['aes128gmac-sha256', 'ESP', /has sha256, but aes128gmac brings its own integrity → Leave sha256 out\.$/],
    ['aes256gcm16iiv-sha256', 'ESP', /has sha256, but aes256gcm16iiv brings its own integrity/],
    ['camellia256ccm16-sha256', 'ESP', /has sha256, but camellia256ccm16 brings its own integrity/],
    ['aes128gmac-aes128-sha256', 'ESP', /mixes aes128gmac, which brings its own integrity/],
    ['camellia256', 'ESP', /lacks an integrity algorithm, which camellia256 needs → Write camellia256-sha256\.$/],
    ['camellia256ctr', 'ESP', /lacks an integrity algorithm/],
    ['camellia256ccm16-x25519', 'IKE', /lacks a PRF/],
    ['camellia-sha256', 'ESP', /"camellia" in .* lacks the length of its key → Write camellia256 or camellia128\.$/],
    ['camelliaccm8', 'ESP', /lacks the length of its key → Write camellia256ccm8 or camellia128ccm8\.$/],
    ['aesgmac', 'ESP', /lacks the length of its key → Write aes256gmac or aes128gmac\.$/],
    ['aesgcm16iiv', 'ESP', /lacks the length of its key → Write aes256gcm16iiv or aes128gcm16iiv\.$/],
    ['aesgmac', 'AH', /lacks the length of its key/],
    ['aes128', 'AH', /has a cipher in it, which AH has not/],
  ])('%s for %s', (text, protocol, expected) => {
    expect(words(text, protocol)).toEqual(typeof expected === 'string' ? expected : expect.stringMatching(expected));
  });

  test('more proposals than have numbers', () => {
    expect(words(Array(256).fill('aes256gcm16').join(','), 'ESP')).toMatch(/has 256 proposals; 255 fit/);
  });

  test('legacy permits SHA-1, and nothing that is broken', () => {
    expect(words('aes256-sha1-modp2048', 'IKE', true)).toEqual(['aes256-prfsha1-sha1-modp2048']);
    expect(words('des-sha1-modp2048', 'IKE', true)).toMatch(/^des is broken/);
    expect(words('aes256-sha256-modp768', 'IKE', true)).toMatch(/^modp768 is broken/);
    expect(words('blowfish128-sha1-modp2048', 'IKE', true)).toMatch(/^blowfish128 must not be negotiated/);
    expect(words('3des-sha1-modp1024', 'IKE', true)).toEqual(['3des-prfsha1-sha1-modp1024']);
    expect(words('aes256-sha256-modp1024s160-modp2048s224-modp2048s256-modp1536-ecp192-ecp224', 'IKE', true)).toEqual([
      'aes256-prfsha256-sha256-modp1024s160-modp2048s224-modp2048s256-modp1536-ecp192-ecp224',
    ]);
  });
});

describe('opt-in', () => {
  const parse = (text: string, protocol: ProposalProtocol, lack?: Parameters<typeof parseProposals>[3]) => {
    const parsed = parseProposals([text], protocol, true, lack);
    if (!parsed.ok) throw new Error(parsed.message);
    return parsed.value;
  };

  test('nothing of it stands in a default', () => {
    for (const protocol of Object.keys(DEFAULT_PROPOSALS) as ProposalProtocol[]) {
      const proposals = parse('default', protocol);
      expect(proposals.flatMap(({ transforms }) => transforms).filter((t) => t.type !== TransformType.ESN && optIn(t))).toEqual([]);
      expect(optInWarnings(proposals)).toEqual([]);
    }
  });

  test('each that is named is warned of, once', () => {
    const warned = (text: string, protocol: ProposalProtocol) => optInWarnings(parse(text, protocol)).map(({ message }) => message);
    expect(warned('3des-camellia128-sha1-modp1024-ecp256bp, 3des-sha1-modp1024', 'IKE').map((message) => message.split(' ')[0])).toEqual([
      '3des',
      'camellia128',
      'prfsha1',
      'sha1',
      'modp1024',
      'ecp256bp',
    ]);
    expect(warned('null-sha256', 'ESP')).toEqual(['null leaves traffic readable to everybody on the way']);
    expect(warned('aes256gmac', 'ESP')).toEqual(['aes256gmac leaves traffic readable to everybody on the way']);
    expect(warned('aes256gcm16iiv-aes256gcm16', 'ESP')).toEqual([expect.stringMatching(/^aes256gcm16iiv sends no IV/)]);
    expect(warned('aes256gcm16-x25519', 'ESP')).toEqual([]);
  });

  test('what this OpenSSL lacks fails with that reason', () => {
    const lack = ({ id }: { readonly id: number }) =>
      id === 3 ? 'is not in the OpenSSL 9.9.9 of this Node, which lacks des-ede3-cbc' : undefined;
    expect(parseProposals(['aes256-sha256-x25519', '3des-sha1-modp1024'], 'IKE', true, lack)).toEqual({
      ok: false,
      message: '"3des" in "3des-sha1-modp1024" is not in the OpenSSL 9.9.9 of this Node, which lacks des-ede3-cbc',
      hint: 'Leave it out, or run a Node that has it.',
    });
  });
});

import { describe, expect, test } from 'vitest';
import { formatProposalWords, type ProposalProtocol, parseProposals } from '../../../src/product/config/index.ts';

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
    ['blowfish256-sha512-modp2048', 'IKE', /blowfish256/],
    ['aes256-sha1-modp2048', 'IKE', /"sha1" in .* can be broken and is off → Ask the other end for something better, or set legacy: yes/],
    ['aes256-sha256-modp1024', 'IKE', /modp1024/],
  ])('%s for %s', (text, protocol, expected) => {
    expect(words(text, protocol)).toEqual(typeof expected === 'string' ? expected : expect.stringMatching(expected));
  });

  test('more proposals than have numbers', () => {
    expect(words(Array(256).fill('aes256gcm16').join(','), 'ESP')).toMatch(/has 256 proposals; 255 fit/);
  });

  test('legacy permits SHA-1, and nothing that is broken', () => {
    expect(words('aes256-sha1-modp2048', 'IKE', true)).toEqual(['aes256-prfsha1-sha1-modp2048']);
    expect(words('des-sha1-modp2048', 'IKE', true)).toMatch(/^des is broken/);
    expect(words('aes256-sha1-modp1024', 'IKE', true)).toMatch(/"modp1024" in .* is not spoken here, not even with legacy/);
  });
});

import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../../src/core/bytes/index.ts';
import {
  type AuthAnnouncement,
  describeAuthAnnouncement,
  parseAuthAnnouncements,
  writeAuthAnnouncements,
} from '../../../src/core/wire/index.ts';

const ED25519 = fromHex('300506032b6570');

describe('SUPPORTED_AUTH_METHODS (RFC 9593 §3.2)', () => {
  test.each<[string, AuthAnnouncement, string]>([
    ['0202', { method: 2 }, 'SHARED_KEY_MIC'],
    ['020d', { method: 13 }, 'NULL_AUTHENTICATION'],
    ['030100', { method: 1, certLink: 0 }, 'RSA_DIGITAL_SIGNATURE'],
    ['030903', { method: 9, certLink: 3 }, 'ECDSA_SHA256_P256 for CERTREQ 3'],
    ['0a0e00300506032b6570', { method: 14, certLink: 0, algorithm: ED25519 }, 'DIGITAL_SIGNATURE Ed25519'],
    ['02c8', { method: 200 }, '200'],
  ])('%s', (hex, announcement, text) => {
    expect(parseAuthAnnouncements(fromHex(hex))).toEqual([announcement]);
    expect(toHex(writeAuthAnnouncements([announcement]))).toBe(hex);
    expect(describeAuthAnnouncement(announcement)).toBe(text);
  });

  test.each(['00', '01', '0100', '02', '0301', '0a0e003005', '0202 00', '0202 ff0e'])('%s cannot be read', (hex) => {
    expect(() => parseAuthAnnouncements(fromHex(hex.replace(' ', '')))).toThrow(expect.objectContaining({ code: 'MALFORMED_MESSAGE' }));
  });

  test('no more are kept than anybody has use for', () => {
    expect(parseAuthAnnouncements(fromHex('0202'.repeat(30_000)))).toHaveLength(64);
  });
});

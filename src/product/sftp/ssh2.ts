import type { Algorithms, CipherAlgorithm, KexAlgorithm, MacAlgorithm, ServerHostKeyAlgorithm } from 'ssh2';
import { ssh2Missing } from './errors.ts';

type Ssh2 = typeof import('ssh2');

/** The SSH that SFTP is spoken through: an optional package, loaded when it is first needed. @throws DataPlaneError `SSH2_MISSING` */
export async function loadSsh2(): Promise<Ssh2> {
  try {
    return (await import('ssh2')).default;
  } catch (cause) {
    throw ssh2Missing(cause);
  }
}

/** What ssh2 has without SHA-1, CBC and compression; fast ciphers first. @param known types of host keys that are asked for before others */
export function strongAlgorithms(known: readonly string[] = []): Algorithms {
  const hostKeys = [...HOST_KEYS].sort((a, b) => Number(known.includes(typeOfKey(b))) - Number(known.includes(typeOfKey(a))));
  return { kex: [...KEX], cipher: [...CIPHERS], hmac: [...MACS], serverHostKey: hostKeys, compress: ['none'] };
}

/** RSA keys sign in several ways (RFC 8332 §3). */
const typeOfKey = (algorithm: string): string => (algorithm.startsWith('rsa-') ? 'ssh-rsa' : algorithm);

const KEX: readonly KexAlgorithm[] = [
  'curve25519-sha256',
  'curve25519-sha256@libssh.org',
  'ecdh-sha2-nistp256',
  'ecdh-sha2-nistp384',
  'ecdh-sha2-nistp521',
  'diffie-hellman-group16-sha512',
  'diffie-hellman-group18-sha512',
  'diffie-hellman-group14-sha256',
];
const CIPHERS: readonly CipherAlgorithm[] = ['aes256-gcm@openssh.com', 'aes128-gcm@openssh.com', 'aes256-ctr', 'aes192-ctr', 'aes128-ctr'];
const MACS: readonly MacAlgorithm[] = ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'];
const HOST_KEYS: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];

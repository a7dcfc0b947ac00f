import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from './process.ts';

export type KeyType = keyof typeof KEYS;

export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

/** In openssl's words. */
const KEYS = {
  ecdsa: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['rsa:4096'],
  'rsa-pss': ['rsa:2048'],
  ed25519: ['ed25519'],
  ed448: ['ed448'],
} as const;

/**
 * A small certificate authority made by openssl, a tool that knows nothing of us: what it issues, both ends have to understand.
 * Paths are those of PEM files.
 */
export interface Authority {
  readonly certificate: string;
  issue(name: string, options?: { readonly days?: number; readonly expired?: boolean }): Promise<Credential>;
}

export async function createAuthority(folder: string, name: string, type: KeyType): Promise<Authority> {
  await mkdir(folder, { recursive: true });
  const file = (leaf: string): string => join(folder, leaf);
  await openssl(
    'req',
    '-x509',
    ...newKey(type, file('ca.key')),
    ...signature(type),
    '-out',
    file('ca.crt'),
    '-days',
    '30',
    '-subj',
    `/O=Interop/CN=${name}`,
    ...CA_EXTENSIONS,
  );
  return {
    certificate: file('ca.crt'),
    issue: async (subject, options = {}) => {
      const { key, request, certificate } = {
        key: file(`${subject}.key`),
        request: file(`${subject}.csr`),
        certificate: file(`${subject}.crt`),
      };
      await openssl('req', '-new', ...newKey(type, key), '-out', request, '-subj', `/O=Interop/CN=${subject}`);
      const extensions = file(`${subject}.ext`);
      await writeFile(
        extensions,
        `subjectAltName=DNS:${subject}\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n`,
      );
      const signing = [
        '-CA',
        file('ca.crt'),
        '-CAkey',
        file('ca.key'),
        '-CAcreateserial',
        '-extfile',
        extensions,
        '-out',
        certificate,
        ...signature(type),
      ];
      // x509 counts validity from now; only a negative number of days makes a certificate that is already over.
      await openssl('x509', '-req', '-in', request, ...signing, '-days', options.expired ? '-1' : String(options.days ?? 30));
      return { certificate, key };
    },
  };
}

const newKey = (type: KeyType, path: string): string[] => ['-newkey', ...KEYS[type], '-nodes', '-keyout', path];

/** How the authority signs; a request is signed as the key has it. */
const signature = (type: KeyType): string[] =>
  type === 'rsa-pss' ? ['-sha256', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32'] : [];

const openssl = (...args: string[]): Promise<string> => must('openssl', args, { timeout: 60_000 });
const CA_EXTENSIONS = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from './process.ts';

export type KeyType = 'ecdsa' | 'rsa';

export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

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
      const signing = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', extensions, '-out', certificate];
      // x509 counts validity from now; only a negative number of days makes a certificate that is already over.
      await openssl('x509', '-req', '-in', request, ...signing, '-days', options.expired ? '-1' : String(options.days ?? 30));
      return { certificate, key };
    },
  };
}

function newKey(type: KeyType, path: string): string[] {
  const algorithm = type === 'rsa' ? ['rsa:4096'] : ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  return ['-newkey', ...algorithm, '-nodes', '-keyout', path];
}

const openssl = (...args: string[]): Promise<string> => must('openssl', args, { timeout: 60_000 });
const CA_EXTENSIONS = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];

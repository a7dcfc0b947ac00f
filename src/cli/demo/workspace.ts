import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ConfigError } from '../../core/bytes/index.ts';
import { certificateSigner, generateKey } from '../../core/crypto/certificate-signing.ts';
import {
  type Certificate,
  type CertificateAuthority,
  CLIENT_USAGES,
  createCa,
  formatPem,
  GATEWAY_USAGES,
  issueCertificate,
} from '../../core/pki/index.ts';
import { writeFileAtomic } from '../../host/platform/files.ts';

/** A private folder that the demo works in; it is gone afterwards. */
export interface Workspace {
  readonly folder: string;
  /** What travels. */
  readonly file: { readonly path: string; readonly name: string; readonly size: number };
  /** Folder in which the gateway takes what is sent to it. */
  readonly inbox: string;
  /** Configuration files as a user would write them. */
  readonly gatewayConfig: string;
  readonly clientConfig: (gateway: { readonly ike: number; readonly nat: number }) => Promise<string>;
  remove(): Promise<void>;
}

export const GATEWAY_ID = 'gateway.demo';
export const CLIENT_ID = 'client@demo';
/** Name of the client's connection. */
export const CONNECTION = 'demo';
/** The gateway's own address inside the tunnel, and where it takes files. */
export const GATEWAY_INNER = '10.66.0.1';

/** @param file undefined: 64 MiB that nobody can compress or guess are made */
export async function makeWorkspace(file: string | undefined, now: number): Promise<Workspace> {
  const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-demo-'));
  try {
    const inbox = join(folder, 'inbox');
    await mkdir(inbox, { mode: 0o700 });
    await writePki(folder, now);
    const gatewayConfig = join(folder, 'gateway.yaml');
    await writeFileAtomic(gatewayConfig, gatewayText());
    return {
      folder,
      file: await (file === undefined ? makeFile(join(folder, 'payload.bin')) : existingFile(file)),
      inbox,
      gatewayConfig,
      clientConfig: async (ports) => {
        const path = join(folder, 'client.yaml');
        await writeFileAtomic(path, clientText(ports));
        return path;
      },
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** SHA-256 of a file, hex. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  const handle = await open(path);
  try {
    for await (const chunk of handle.createReadStream({ autoClose: false, highWaterMark: 1 << 20 })) hash.update(chunk);
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

async function writePki(folder: string, now: number): Promise<void> {
  const caKey = generateKey('ecdsa-p256');
  const validity = { notBefore: now - HOUR, notAfter: now + 25 * HOUR };
  const ca = createCa({
    name: 'CN=Tunnelwright demo CA',
    serial: randomBytes(16),
    signer: certificateSigner(caKey.privateKey),
    ...validity,
    notAfter: validity.notAfter + HOUR,
  });
  await writeFileAtomic(join(folder, 'ca.crt'), pemOf(ca.certificate));
  await writeEnd(folder, ca, 'gateway', GATEWAY_ID, GATEWAY_USAGES, validity);
  await writeEnd(folder, ca, 'client', CLIENT_ID, CLIENT_USAGES, validity);
}

async function writeEnd(
  folder: string,
  ca: CertificateAuthority,
  name: string,
  id: string,
  usages: readonly string[],
  validity: { readonly notBefore: number; readonly notAfter: number },
): Promise<void> {
  const key = generateKey('ecdsa-p256');
  const certificate = issueCertificate({
    ca,
    subject: `CN=${id}`,
    sans: [id],
    publicKey: key.spki,
    usages,
    serial: randomBytes(16),
    ...validity,
  });
  await writeFileAtomic(join(folder, `${name}.crt`), pemOf(certificate));
  await writeFileAtomic(join(folder, `${name}.key`), key.pem, 0o600);
}

const pemOf = (certificate: Certificate): string => formatPem('CERTIFICATE', certificate.der);

async function makeFile(path: string): Promise<Workspace['file']> {
  const handle = await open(path, 'wx', 0o600);
  try {
    for (let written = 0; written < DEMO_SIZE; written += CHUNK) await handle.write(randomBytes(CHUNK));
  } finally {
    await handle.close();
  }
  return { path, name: basename(path), size: DEMO_SIZE };
}

async function existingFile(path: string): Promise<Workspace['file']> {
  const facts = await stat(path).catch(() => undefined);
  if (facts?.isFile()) return { path, name: basename(path), size: facts.size };
  throw new ConfigError(facts === undefined ? `there is no file ${path}` : `${path} is not a file`, {
    code: 'FILE_UNREADABLE',
    file: path,
    hint: 'Name one ordinary file; without --file the demo makes 64 MiB of its own.',
  });
}

function gatewayText(): string {
  return `name: gateway
listen:
  addresses: 127.0.0.1
  port: 0
  nat_port: 0
connections:
  clients:
    local: {auth: pubkey, id: ${GATEWAY_ID}, certs: gateway.crt, key: gateway.key}
    remote: {auth: pubkey, id: "*@demo", cacerts: ca.crt}
    pools: [clients]
    children:
      files: {local_ts: ${GATEWAY_INNER}/32}
pools:
  clients: {addrs: 10.66.0.0/24}
addresses: [${GATEWAY_INNER}/24]
transfer: {inbox: inbox}
`;
}

function clientText({ ike, nat }: { readonly ike: number; readonly nat: number }): string {
  return `name: client
listen: {port: 0, nat_port: 0}
connections:
  ${CONNECTION}:
    remote_addrs: 127.0.0.1
    remote_port: ${ike}
    remote_nat_port: ${nat}
    vips: 0.0.0.0
    local: {auth: pubkey, id: ${CLIENT_ID}, certs: client.crt, key: client.key}
    remote: {auth: pubkey, id: ${GATEWAY_ID}, cacerts: ca.crt}
    children:
      files: {remote_ts: ${GATEWAY_INNER}/32}
`;
}

const HOUR = 3_600_000;
const DEMO_SIZE = 64 * 1024 * 1024;
const CHUNK = 1024 * 1024;

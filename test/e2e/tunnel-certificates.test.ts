import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type CertificateAuthority,
  CLIENT_USAGES,
  certificateSigner,
  createCa,
  formatPem,
  GATEWAY_USAGES,
  generateKey,
  issueCertificate,
  type KeyKind,
} from '../../src/core/pki/index.ts';
import { exchangeBothWays, INNER, Loopback, socketPair } from './support/loopback.ts';

let folder: string;
let open: Loopback | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tunnelwright-certificates-'));
});
afterEach(async () => {
  await open?.close();
  open = undefined;
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const HOUR = 3_600_000;
const lifetime = { notBefore: Date.now() - HOUR, notAfter: Date.now() + 24 * HOUR };
const serial = (): Uint8Array => new Uint8Array(randomBytes(16));

async function authority(name: string, kind: KeyKind = 'ecdsa-p256'): Promise<{ ca: CertificateAuthority; file: string }> {
  const ca = createCa({
    name: `CN=${name}`,
    signer: certificateSigner(generateKey(kind).privateKey),
    serial: serial(),
    ...lifetime,
    notAfter: lifetime.notAfter + HOUR,
  });
  const file = join(folder, `${name}.crt`);
  await writeFile(file, formatPem('CERTIFICATE', ca.certificate.der));
  return { ca, file };
}

async function issue(
  ca: CertificateAuthority,
  name: string,
  usages: readonly string[],
  kind: KeyKind = 'ecdsa-p256',
  times = lifetime,
): Promise<{ certs: string; key: string }> {
  const { pem, spki } = generateKey(kind);
  const certificate = issueCertificate({ ca, subject: `CN=${name}`, sans: [name], publicKey: spki, usages, serial: serial(), ...times });
  const files = { certs: join(folder, `${name}.${kind}.crt`), key: join(folder, `${name}.${kind}.key`) };
  await writeFile(files.certs, formatPem('CERTIFICATE', certificate.der));
  await writeFile(files.key, pem, { mode: 0o600 });
  await chmod(files.key, 0o600);
  return files;
}

interface Parties {
  readonly gateway: { readonly certs: string; readonly key: string };
  readonly alice: { readonly certs: string; readonly key: string };
  /** Whom the gateway and the client trust. */
  readonly gatewayTrusts: string;
  readonly aliceTrusts: string;
}

async function between({ gateway, alice, gatewayTrusts, aliceTrusts }: Parties): Promise<Loopback> {
  open = await Loopback.open({
    gateway: { authorities: { ca: { cacert: gatewayTrusts } } },
    clients: { local: [{ auth: 'pubkey', id: 'gateway.example', ...gateway }], remote: [{ auth: 'pubkey', id: '*@example.com' }] },
    client: { authorities: { ca: { cacert: aliceTrusts } } },
    road: { local: [{ auth: 'pubkey', id: 'alice@example.com', ...alice }], remote: [{ auth: 'pubkey', id: 'gateway.example' }] },
  });
  return open;
}

describe('certificates from files', () => {
  test.each(['ecdsa-p256', 'ed25519', 'rsa-3072'] as const)('%s at both ends: up, ping, and a transfer both ways', async (kind) => {
    const { ca, file } = await authority(`CA ${kind}`);
    const gateway = await issue(ca, 'gateway.example', GATEWAY_USAGES, kind);
    const alice = await issue(ca, 'alice@example.com', CLIENT_USAGES, kind);
    const world = await between({ gateway, alice, gatewayTrusts: file, aliceTrusts: file });
    const tunnel = await world.connect();
    expect(tunnel.status).toMatchObject({ state: 'established', remoteAuth: 'DIGITAL_SIGNATURE' });
    expect((await tunnel.ping(INNER)).from).toBe(INNER);
    const { here, there } = await socketPair(world, tunnel);
    await exchangeBothWays(here, there, 2);
  });

  test('a gateway of another authority is not believed', async () => {
    const ours = await authority('CA ours');
    const theirs = await authority('CA theirs');
    const gateway = await issue(theirs.ca, 'gateway.example', GATEWAY_USAGES);
    const alice = await issue(ours.ca, 'alice@example.com', CLIENT_USAGES);
    const world = await between({ gateway, alice, gatewayTrusts: ours.file, aliceTrusts: ours.file });
    await expect(world.connect()).rejects.toMatchObject({ name: 'CertificateFailure', hint: expect.any(String) });
  });

  test('a gateway that is somebody else is not believed (D42)', async () => {
    const { ca, file } = await authority('CA names');
    const gateway = await issue(ca, 'other.example', GATEWAY_USAGES);
    const alice = await issue(ca, 'alice@example.com', CLIENT_USAGES);
    const world = await between({ gateway, alice, gatewayTrusts: file, aliceTrusts: file });
    await expect(world.connect()).rejects.toMatchObject({ message: expect.stringContaining('gateway.example') });
  });

  test('a client of another authority is refused, and learns nothing more than that', async () => {
    const ours = await authority('CA of the gateway');
    const theirs = await authority('CA of somebody');
    const gateway = await issue(ours.ca, 'gateway.example', GATEWAY_USAGES);
    const alice = await issue(theirs.ca, 'alice@example.com', CLIENT_USAGES);
    const world = await between({ gateway, alice, gatewayTrusts: ours.file, aliceTrusts: ours.file });
    await expect(world.connect()).rejects.toMatchObject({ name: 'PeerRefused', notify: 24 });
    expect(world.notices.some((n) => 'error' in n && n.error?.name === 'CertificateFailure')).toBe(true);
    expect(world.gateway.ikeSas()).toEqual([]);
  });

  test('a client does not even try with a certificate that is over', async () => {
    const { ca, file } = await authority('CA times');
    const over = { notBefore: Date.now() - 48 * HOUR, notAfter: Date.now() - HOUR };
    const gateway = await issue(ca, 'gateway.example', GATEWAY_USAGES);
    const alice = await issue(ca, 'alice@example.com', CLIENT_USAGES, 'ecdsa-p256', over);
    const world = await between({ gateway, alice, gatewayTrusts: file, aliceTrusts: file });
    await expect(world.connect()).rejects.toMatchObject({ code: expect.stringMatching(/EXPIRED|AUTHENTICATION_FAILED/) });
  });

  test('a private key that others may read is not used', async () => {
    const { ca, file } = await authority('CA modes');
    const gateway = await issue(ca, 'gateway.example', GATEWAY_USAGES);
    const alice = await issue(ca, 'alice@example.com', CLIENT_USAGES);
    await chmod(alice.key, 0o644);
    const world = await between({ gateway, alice, gatewayTrusts: file, aliceTrusts: file });
    await expect(world.connect()).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS', hint: expect.stringContaining('chmod 600') });
  });
});

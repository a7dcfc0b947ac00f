import { CredentialStore } from '../host/engine/credentials/credentials.ts';
import { loadCredentials } from '../host/engine/credentials/load.ts';
import { type CompiledConfig, machineFiles, readCredentials } from '../product/config/index.ts';
import type { Output } from './output.ts';

/** Reads every key, certificate and secret of a configuration, and says what is about to become trouble. @throws ConfigError */
export async function openCredentials(config: CompiledConfig, now: number, out: Output): Promise<CredentialStore> {
  const raw = await readCredentials(config.credentials, machineFiles);
  for (const { message, hint } of raw.warnings) out.warn(message, hint);
  const store = new CredentialStore();
  loadCredentials(store, raw);
  for (const credential of store.loaded(now)) {
    if (credential.kind === 'pre-shared key' || credential.kind === 'post-quantum pre-shared key') continue;
    if ('fingerprint' in credential) {
      if (credential.kind === 'public key')
        out.note(`our public key is ${credential.key}, for pubkeys at the peer: ${credential.fingerprint}`);
      continue;
    }
    const what = `${credential.kind === 'certificate' ? 'our certificate' : `the ${credential.kind}`} ${credential.subject}`;
    const day = new Date(credential.notAfter).toISOString().slice(0, 10);
    if (credential.notAfter < now) out.warn(`${what} expired on ${day}`, 'Renew it, and put the new one in its place.');
    else if (credential.notBefore > now)
      out.warn(
        `${what} is not valid before ${new Date(credential.notBefore).toISOString().slice(0, 10)}`,
        'Is the clock of this machine right?',
      );
    else if (credential.daysLeft < SOON) out.warn(`${what} expires on ${day}`, 'Renew it in time.');
    if (credential.kind === 'certificate' && !credential.hasPrivateKey)
      out.warn(`${what} has no private key, so it proves nothing`, 'Name its key with key (--key).');
  }
  return store;
}

/** Days. */
const SOON = 7;

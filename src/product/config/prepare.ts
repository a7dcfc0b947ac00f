import type { PlaneUse } from '../../host/dataplane/backends/choice.ts';
import { chooseBackend } from '../../host/dataplane/index.ts';
import { CredentialStore } from '../../host/engine/credentials/credentials.ts';
import { loadCredentials } from '../../host/engine/credentials/load.ts';
import type { InstanceOptions } from '../../host/engine/instance.ts';
import { lastingSecret } from '../../host/platform/lasting-secret.ts';
import type { Platform } from '../../host/platform/platform.ts';
import { servingPlatform, systemLookup, systemPlatform } from '../../host/platform/system.ts';
import type { CompiledConfig, ConfigWarning } from './compiled.ts';
import { machineFiles } from './machine-files.ts';
import { type Lookup, resolveNames } from './names.ts';
import { checkPlane } from './plane-demands.ts';
import { digestOf, readCredentials } from './secrets.ts';

/** What gateway and client have in common. */
export interface InstanceRequest {
  readonly config: CompiledConfig;
  /** Tells instances on one machine apart; that of the configuration, or the role, unless given. */
  readonly name?: string | undefined;
  /** Read from where the configuration says, unless given. */
  readonly credentials?: CredentialStore | undefined;
  /** Raises `ike-keys` and `child-keys` notices: whoever has them reads everything. */
  readonly logKeys?: boolean | undefined;
  /** Raises `message` notices. */
  readonly logMessages?: boolean | undefined;
  readonly platform?: Platform | undefined;
  /** What `plane: auto` is to serve; sockets in this process unless given. */
  readonly use?: PlaneUse | undefined;
  readonly lookup?: Lookup | undefined;
}

/**
 * From a compiled configuration to what an instance is opened with: names resolved, credentials read, the data plane chosen.
 * @param needed of a client: connections whose peers' DNS names must resolve now; all unless given
 * @throws ConfigError, DataPlaneError
 */
export async function prepareInstance(
  request: InstanceRequest,
  role: InstanceOptions['role'],
  needed?: readonly string[],
): Promise<{ readonly options: InstanceOptions; readonly warnings: readonly ConfigWarning[] }> {
  const { config, lookup = systemLookup } = request;
  // a gateway waits for peers whose names nobody knows now; a client cannot dial them
  const { connections, limits } = await resolveNames(
    config,
    lookup,
    role === 'gateway' ? undefined : ({ name }) => needed?.includes(name) ?? true,
  );
  const warnings = [...config.warnings];
  const platform = request.platform ?? (role === 'gateway' ? await servingPlatform() : systemPlatform());
  let { credentials } = request;
  let credentialsDigest: Uint8Array | undefined;
  const secret = config.state === undefined ? undefined : await lastingSecret(config.state);
  if (credentials === undefined) {
    const raw = await readCredentials(config.credentials, machineFiles);
    warnings.push(...raw.warnings);
    credentials = new CredentialStore({ prf: platform.computing?.primitives.prf, httpGet: platform.httpGet });
    credentialsDigest = digestOf(raw);
    loadCredentials(credentials, raw);
  }
  const { backend, decision } = await chooseBackend(config.plane, request.use);
  checkPlane(config.demands, backend);
  const options: InstanceOptions = {
    name: request.name ?? config.name ?? role,
    role,
    platform: backend.udp === undefined ? platform : { ...platform, udp: await backend.udp() },
    backend,
    decision,
    plane: {
      addresses: config.addresses,
      ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
      ...(config.congestion === undefined ? {} : { congestion: config.congestion }),
      // a platform without threads is none of this machine
      ...(platform.threads === undefined ? {} : { espThread: config.espThread }),
      ...(config.bareEsp ? { bareEsp: true } : {}),
    },
    connections,
    limits,
    workers: config.workers,
    pools: config.pools,
    credentials,
    lookup,
    redirect: config.redirect,
    secret,
    credentialsDigest,
    logKeys: request.logKeys,
    logMessages: request.logMessages,
  };
  return { options, warnings };
}

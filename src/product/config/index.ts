/** Configuration: text to settings (`loadConfig`), settings to policy (`compile`), files and secrets to octets (`readCredentials`). */
export { absolutePath, compile } from './compile.ts';
export type * from './compiled.ts';
export { CLIENT_RETRANSMISSION, DEFAULT_LIMITS, DEFAULTS, SITE_RETRANSMISSION } from './defaults.ts';
export {
  type ClientFlags,
  type ConnectionFlags,
  clientFromFlags,
  gatewayFromFlags,
  parseTarget,
  type ServeFlags,
  type Target,
  withFlags,
} from './flags.ts';
export { checkConfig, configFrom, type LoadedConfig, type LoadOptions, loadConfig } from './load.ts';
export { machineFiles } from './machine-files.ts';
export { isName, type Lookup, resolveNames } from './names.ts';
export { checkPlane, type PlaneDemand } from './plane-demands.ts';
export { planeUse } from './plane-use.ts';
export { type InstanceRequest, prepareInstance } from './prepare.ts';
export { formatProposalWords, type ProposalProtocol, parseProposals } from './proposals.ts';
export { type CredentialFiles, decodeSecret, type RawCredentials, type RawFile, readCredentials, readSecret } from './secrets.ts';
export type { Place } from './source.ts';

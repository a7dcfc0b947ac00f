import { NotifyType } from '../core/wire/iana.ts';

/** What a script learns from how a command ended. Part of the public API. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  authentication: 4,
  noCommonGround: 5,
  unreachable: 6,
  certificate: 7,
  resumable: 8,
  privilege: 9,
  /** 128 + SIGINT, as shells have it. */
  interrupted: 130,
} as const;

export const EXIT_MEANINGS: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.ok, 'ok'],
  [EXIT.failed, 'failed'],
  [EXIT.usage, 'usage or configuration'],
  [EXIT.notFound, 'not running, or not found'],
  [EXIT.authentication, 'authentication'],
  [EXIT.noCommonGround, 'no common proposal or traffic selectors'],
  [EXIT.unreachable, 'unreachable, or no answer in time'],
  [EXIT.certificate, 'certificate'],
  [EXIT.resumable, 'interrupted; the same command goes on where it stopped'],
  [EXIT.privilege, 'a privilege is missing; the text says which, and the way without'],
  [EXIT.interrupted, 'Ctrl-C'],
];

/** An error as far as the exit code goes: of this process, or told by an instance. */
export interface Ending {
  /** Class of the error tree. */
  readonly type: string;
  readonly code: string;
  readonly notify?: number | undefined;
  readonly resumable?: boolean | undefined;
  readonly privilege?: string | undefined;
}

/** The one table from errors to exit codes: a stable code first, then what the peer's notify says, then the class. */
export function exitCodeOf(ending: Ending): number {
  if (ending.resumable === true) return EXIT.resumable;
  if (ending.privilege !== undefined) return EXIT.privilege;
  const byCode = BY_CODE.get(ending.code);
  if (byCode !== undefined) return byCode;
  const byNotify = ending.type === 'PeerRefused' && ending.notify !== undefined ? BY_NOTIFY.get(ending.notify) : undefined;
  return byNotify ?? BY_TYPE.get(ending.type) ?? EXIT.failed;
}

const BY_CODE: ReadonlyMap<string, number> = new Map([
  ['USAGE', EXIT.usage],
  ['TIMEOUT', EXIT.unreachable],
  ['INTERRUPTED', EXIT.interrupted],
  ['WHICH_CONNECTION', EXIT.usage],
  ['WHICH_INSTANCE', EXIT.usage],
  ['BAD_REQUEST', EXIT.usage],
  ['BAD_FORWARD', EXIT.usage],
  ['NOT_RUNNING', EXIT.notFound],
  ['NO_SUCH_CONNECTION', EXIT.notFound],
  ['NO_SUCH_CHILD', EXIT.notFound],
  ['NO_SUCH_SA', EXIT.notFound],
  ['NO_SUCH_PEER', EXIT.notFound],
  ['NO_FILE_SERVICE', EXIT.notFound],
  ['FILE_NOT_FOUND', EXIT.notFound],
  ['TRANSFER_NOT_FOUND', EXIT.notFound],
  ['NAME_NOT_FOUND', EXIT.unreachable],
  ['ENOTFOUND', EXIT.unreachable],
  ['ECONNREFUSED', EXIT.unreachable],
  ['ETIMEDOUT', EXIT.unreachable],
  ['EHOSTUNREACH', EXIT.unreachable],
  ['ENETUNREACH', EXIT.unreachable],
  ['NO_ROUTE', EXIT.unreachable],
  ['CONTROL_FORBIDDEN', EXIT.privilege],
  ['PORT_NEEDS_PRIVILEGE', EXIT.privilege],
  // Addresses have run out, or a connection asks for what there is not: nothing that another proposal would mend.
  ['POOL_EXHAUSTED', EXIT.failed],
  ['POOL_UNKNOWN', EXIT.failed],
  ['INTERNAL_ADDRESS_FAILURE', EXIT.failed],
  ['ADDRESS_NOT_ASSIGNED', EXIT.failed],
]);

const BY_NOTIFY: ReadonlyMap<number, number> = new Map([
  [NotifyType.AUTHENTICATION_FAILED, EXIT.authentication],
  [NotifyType.NO_PROPOSAL_CHOSEN, EXIT.noCommonGround],
  [NotifyType.INVALID_KE_PAYLOAD, EXIT.noCommonGround],
  [NotifyType.TS_UNACCEPTABLE, EXIT.noCommonGround],
  [NotifyType.SINGLE_PAIR_REQUIRED, EXIT.noCommonGround],
]);

const BY_TYPE: ReadonlyMap<string, number> = new Map([
  ['ConfigError', EXIT.usage],
  ['CertificateFailure', EXIT.certificate],
  ['AuthenticationFailure', EXIT.authentication],
  ['NegotiationFailure', EXIT.noCommonGround],
  ['TimedOut', EXIT.unreachable],
]);

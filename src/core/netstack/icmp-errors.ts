import { IcmpType, IcmpUnreachable, type IcmpView, Icmpv6Type, Icmpv6Unreachable } from '../packet/index.ts';
import type { FailureCode } from './ready.ts';

/** What an ICMP error means to whoever sent the packet (RFC 1122 §4.2.3.9, RFC 9293 §3.9.2.2, RFC 5461 §2). */
export interface IcmpMeaning {
  readonly kind: 'hard' | 'soft' | 'too-big';
  readonly code: FailureCode;
}

/** @returns undefined for what is no error, or one that must be ignored (Source Quench, RFC 6633). */
export function icmpMeaning(version: 4 | 6, message: IcmpView): IcmpMeaning | undefined {
  return version === 4 ? meaning4(message) : meaning6(message);
}

function meaning4({ type, code }: IcmpView): IcmpMeaning | undefined {
  if (type === IcmpType.TIME_EXCEEDED) return code === 0 ? HOPS : UNREACHABLE;
  if (type === IcmpType.PARAMETER_PROBLEM) return UNREACHABLE;
  if (type !== IcmpType.DESTINATION_UNREACHABLE) return undefined;
  switch (code) {
    case IcmpUnreachable.PROTOCOL:
    case IcmpUnreachable.PORT:
      return REFUSED;
    case IcmpUnreachable.FRAGMENTATION_NEEDED:
      return TOO_BIG;
    case IcmpUnreachable.NET:
    case IcmpUnreachable.NET_UNKNOWN:
      return NO_NETWORK;
    case IcmpUnreachable.NET_PROHIBITED:
    case IcmpUnreachable.HOST_PROHIBITED:
    case IcmpUnreachable.COMMUNICATION_PROHIBITED:
      return PROHIBITED;
    default:
      return UNREACHABLE;
  }
}

function meaning6({ type, code }: IcmpView): IcmpMeaning | undefined {
  if (type === Icmpv6Type.PACKET_TOO_BIG) return TOO_BIG;
  if (type === Icmpv6Type.TIME_EXCEEDED) return code === 0 ? HOPS : UNREACHABLE;
  if (type === Icmpv6Type.PARAMETER_PROBLEM) return UNREACHABLE;
  if (type !== Icmpv6Type.DESTINATION_UNREACHABLE) return undefined;
  switch (code) {
    case Icmpv6Unreachable.PORT:
      return REFUSED;
    case Icmpv6Unreachable.NO_ROUTE:
      return NO_NETWORK;
    case Icmpv6Unreachable.PROHIBITED:
    case Icmpv6Unreachable.POLICY:
    case Icmpv6Unreachable.REJECT_ROUTE:
      return PROHIBITED;
    default:
      return UNREACHABLE;
  }
}

const REFUSED: IcmpMeaning = { kind: 'hard', code: 'ECONNREFUSED' };
/** Filters answer at once and mean it (RFC 1812 §5.2.7.1): hard during a handshake, like a refusal. */
const PROHIBITED: IcmpMeaning = { kind: 'hard', code: 'EACCES' };
const UNREACHABLE: IcmpMeaning = { kind: 'soft', code: 'EHOSTUNREACH' };
const NO_NETWORK: IcmpMeaning = { kind: 'soft', code: 'ENETUNREACH' };
const HOPS: IcmpMeaning = { kind: 'soft', code: 'ETTL' };
const TOO_BIG: IcmpMeaning = { kind: 'too-big', code: 'EMSGSIZE' };

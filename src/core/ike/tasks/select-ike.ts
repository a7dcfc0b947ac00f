import { NotifyType, type Payload, type Proposal } from '../../wire/index.ts';
import { withoutAdditional } from '../additional-ke.ts';
import { findNotify, need } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { noProposalChosen, onlyMethod, type SelectedIke, selectIke } from '../proposals.ts';
import { InvalidKe } from './ke.ts';

/** What a responder decides from SA and KE alone, before it keeps any state (RFC 7296 §2.7). Throws NegotiationFailure or InvalidKe. */
export function selectForInit(
  connections: readonly Connection[],
  payloads: readonly Payload[],
): { selected: SelectedIke; candidates: Connection[] } {
  const offered = offeredTo(payloads);
  const ke = need(payloads, 'KE');
  for (const connection of connections) {
    const selected = selectIke(connection.proposals, offered);
    if (selected === undefined) continue;
    if (selected.suite.keyExchange !== ke.method) {
      // §1.3, D31: where another proposal of both sides fits the method that came, taking it saves a round trip
      const fitting = selectIke(
        connection.proposals.flatMap((p) => onlyMethod(p, ke.method)),
        offered,
      );
      if (fitting === undefined) throw new InvalidKe(selected.suite.keyExchange, ke.method);
      return { selected: fitting, candidates: thoseThatAccept(connections, connection, fitting) };
    }
    return { selected, candidates: thoseThatAccept(connections, connection, selected) };
  }
  throw noProposalChosen(
    'IKE',
    connections.flatMap((c) => c.proposals),
    offered,
  );
}

/** RFC 9370 §2.2.1: additional key exchanges of a first IKE SA need IKE_INTERMEDIATE; without it they cannot be meant. */
function offeredTo(payloads: readonly Payload[]): readonly Proposal[] {
  const { proposals } = need(payloads, 'SA');
  // only a rekeying names an SPI, and it has an exchange of its own for them
  const first = proposals.every(({ spi }) => spi.length === 0);
  return first && findNotify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) === undefined ? withoutAdditional(proposals) : proposals;
}

/** @param chose the connection whose proposals it was selected from */
const thoseThatAccept = (connections: readonly Connection[], chose: Connection, { proposal }: SelectedIke): Connection[] =>
  connections.filter((c) => c === chose || selectIke(c.proposals, [proposal]) !== undefined);

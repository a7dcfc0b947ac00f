import { type Payload, TransformType } from '../../wire/index.ts';
import type { IkeSuite } from '../keys.ts';
import { need } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { noProposalChosen, onlyMethod, type SelectedIke, selectIke } from '../proposals.ts';
import { InvalidKe } from './ke.ts';

/** What a responder decides from SA and KE alone, before it keeps any state (RFC 7296 §2.7). Throws NegotiationFailure or InvalidKe. */
export function selectForInit(
  connections: readonly Connection[],
  payloads: readonly Payload[],
): { selected: SelectedIke; candidates: Connection[] } {
  const offered = need(payloads, 'SA').proposals;
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
      return { selected: fitting, candidates: thoseThatAccept(connections, fitting.suite) };
    }
    return { selected, candidates: thoseThatAccept(connections, selected.suite) };
  }
  throw noProposalChosen(
    'IKE',
    connections.flatMap((c) => c.proposals),
    offered,
  );
}

function thoseThatAccept(connections: readonly Connection[], suite: IkeSuite): Connection[] {
  const carries = (p: Connection['proposals'][number], type: number, id: number, keyLength?: number) =>
    id === 0 || p.transforms.some((t) => t.type === type && t.id === id && t.keyLength === keyLength);
  return connections.filter((c) =>
    c.proposals.some(
      (p) =>
        carries(p, TransformType.ENCR, suite.encryption, suite.keyLength) &&
        carries(p, TransformType.PRF, suite.prf) &&
        carries(p, TransformType.INTEG, suite.integrity) &&
        carries(p, TransformType.KE, suite.keyExchange),
    ),
  );
}

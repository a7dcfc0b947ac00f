import { keywordOf } from '../crypto/index.ts';
import { ExchangeType, KeyExchangeId, NotifyType, nameOf, type Payload, ProtocolId, type Transform, TransformType } from '../wire/index.ts';
import { errorNotify, find, findNotify } from './notifies.ts';

/** What a response brought about, in a few words for one line of a log: the suite, a demand, a refusal; empty where there is nothing to say. */
export function outcomeOf(exchange: number, payloads: readonly Payload[]): string {
  if (findNotify(payloads, NotifyType.COOKIE))
    return findNotify(payloads, NotifyType.PUZZLE) ? 'wants a puzzle solved first' : 'wants a cookie first';
  const refused = errorNotify(payloads);
  if (refused?.notify === NotifyType.INVALID_KE_PAYLOAD && refused.data.length === 2) {
    return `wants ${nameOf(KeyExchangeId, (refused.data[0]! << 8) | refused.data[1]!)} as key exchange`;
  }
  if (refused) return nameOf(NotifyType, refused.notify);
  const chosen = find(payloads, 'SA')?.proposals[0];
  if (chosen === undefined || exchange === ExchangeType.IKE_AUTH) return '';
  const suite = chosen.transforms.filter(isShown).map(wordOf);
  return (chosen.protocol === ProtocolId.IKE ? suite : ['ESP', ...suite]).join(' · ');
}

/** The same few again and again. */
function wordOf(t: Transform): string {
  const key = (t.type * 2 ** 16 + t.id) * 2 ** 17 + (t.keyLength === undefined ? 0 : 1 + t.keyLength);
  const known = WORDS.get(key);
  if (known !== undefined) return known;
  const word = keywordOf(t);
  if (WORDS.size < MOST_WORDS) WORDS.set(key, word);
  return word;
}

/** NONE and the absence of extended sequence numbers say nothing. */
const isShown = (t: Transform): boolean =>
  t.type !== TransformType.ESN && t.type <= TransformType.ADDKE7 && (t.id !== 0 || t.type === TransformType.ENCR);

const WORDS = new Map<number, string>();
/** Anybody may name any transform. */
const MOST_WORDS = 256;

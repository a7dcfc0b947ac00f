import { concat, EMPTY } from '../bytes/bytes.ts';
import { type IkeKeys, prfOf } from './keys.ts';

/** What AUTH covers of the IKE_INTERMEDIATE exchanges, RFC 9242 §3.3.2. */
export class IntAuth {
  #initiator: Uint8Array = EMPTY;
  #responder: Uint8Array = EMPTY;
  #exchanges = 0;
  #keyExchanges = 0;

  /** Exchanges that are over. */
  get exchanges(): number {
    return this.#exchanges;
  }

  /** Those among them that carried a key exchange. */
  get keyExchanges(): number {
    return this.#keyExchanges;
  }

  /**
   * IntAuth_[i/r]n = prf(SK_p[i/r]n, [IntAuth_[i/r](n-1) |] IntAuth_[i/r]nA [| IntAuth_[i/r]nP]).
   * @param keys those that protected the exchange, before it changed them
   * @param request as `octetsOfSent` and `octetsOfReceived` give it, the response likewise
   */
  add(keys: IkeKeys, request: Uint8Array, response: Uint8Array, keyExchange = false): void {
    const f = prfOf(keys);
    this.#initiator = f.compute(keys.SK_pi, this.#initiator, request);
    this.#responder = f.compute(keys.SK_pr, this.#responder, response);
    this.#exchanges++;
    if (keyExchange) this.#keyExchanges++;
  }

  /** IntAuth_iN | IntAuth_rN | IKE_AUTH_MID; empty where there was no such exchange. */
  get octets(): Uint8Array {
    if (this.#exchanges === 0) return EMPTY;
    // IKE_SA_INIT has Message ID 0, and nothing but these exchanges stands before IKE_AUTH
    const messageId = this.#exchanges + 1;
    return concat(this.#initiator, this.#responder, Uint8Array.of(0, 0, messageId >>> 8, messageId & 0xff));
  }
}

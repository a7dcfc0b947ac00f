import type { Lack } from '../../host/dataplane/backends/choice.ts';
import type { IkeSaDocument } from '../../product/control/documents.ts';
import type { EventLine } from '../../product/control/index.ts';
import type { Paint } from '../context.ts';
import { flow, padEnd, padStart, wrap } from './text.ts';
import { formatBytes, formatLatency } from './units.ts';

/** Tells how a connection comes up, line by line, from events: what was exchanged, what was found out, what was given. */
export class Steps {
  readonly #paint: Paint;
  readonly #columns: number;
  #peer: string | undefined;
  #addresses: EventLine | undefined;

  constructor(paint: Paint, columns: number) {
    this.#paint = paint;
    this.#columns = columns;
  }

  /** The lines that an event adds, without a line end at the end; undefined when it adds none. */
  take(event: EventLine): string | undefined {
    switch (event.event) {
      case 'exchange':
        return event.initiator === true ? this.#exchange(event) : undefined;
      case 'nat':
        return this.#nat(event);
      case 'peer':
        this.#peer = whoItIs(text(event.id), text(event.method), text(event.description));
        return this.#remark(this.#peer);
      case 'addresses':
        this.#addresses = event;
        return this.#heeded(event);
      case 'retransmit':
        return this.#remark(`no answer to ${text(event.exchange)} yet, asked again (${number(event.attempt)})`);
      case 'trying-address':
        return this.#remark(nextAddress(event));
      case 'trying-tcp':
        return this.#remark(`UDP gets no answer; TCP ${text(event.remote)} is tried`);
      case 'transport-chosen':
        return this.#remark(transportChosen(event));
      case 'rekey-tested':
        return this.#tested(event);
      case 'failed':
        return undefined;
      default:
        return undefined;
    }
  }

  /** The last lines, once it stands. @param took milliseconds; what was up when it was asked for took none */
  up(ikeSa: IkeSaDocument, took: number, plane: string, better?: readonly Lack[]): string {
    const given = (key: string, word: string) => {
      const values = list(this.#addresses?.[key]);
      return values.length === 0 ? '' : `${word} ${values.join(' ')}`;
    };
    const routes =
      given('routes', 'routes') || `routes ${[...new Set(ikeSa.children.flatMap((child) => child.remoteTs))].join(' ') || 'none'}`;
    const head = [
      `  ${this.#paint.green('✓')} ${took < AT_ONCE ? 'up already' : `up in ${formatLatency(took)}`}`,
      ikeSa.assigned.join('  '),
      given('dns', 'dns'),
      routes,
    ];
    return [flow(head, this.#columns, '    '), `    ${wrap(planeLine(plane, better), this.#columns - 4, '    ')}`].join('\n');
  }

  #exchange(event: EventLine): string {
    const copies = number(event.retransmissions);
    const took = `${padStart(formatLatency(number(event.took)), 6)}${copies > 0 ? ` (${copies + 1} copies)` : ''}`;
    const head = `  → ${padEnd(text(event.exchange), 11)}   ${text(event.remote)}`;
    const sizes = `${formatBytes(number(event.requestOctets))} → ${formatBytes(number(event.responseOctets))}`;
    return flow([head, sizes, took, text(event.summary)], this.#columns, ' '.repeat(18));
  }

  #nat(event: EventLine): string | undefined {
    // a stream passes every NAT as it is (RFC 9329 §6.5)
    if (event.transport === 'tcp') return event.ours === true ? this.#remark('NAT on our side, which TCP passes') : undefined;
    // a peer that must encapsulate claims a NAT on its side, so only ours is certain
    if (event.ours === true) return this.#remark('NAT on our side, moving to UDP encapsulation');
    if (event.forced === true) return this.#remark('UDP encapsulation is forced, moving to the NAT port');
    return event.theirs === true ? this.#remark('NAT on their side, moving to UDP encapsulation') : undefined;
  }

  #tested(event: EventLine): string {
    return rekeyTested(event, this.#paint, this.#columns - 2).replaceAll(/^/gm, '  ');
  }

  #heeded(event: EventLine): string | undefined {
    const lines = [
      this.#missing(list(event.missing), list(event.served)),
      ...list(event.ignored).map((each) => this.#remark(`not heeded: ${each}`)),
    ].filter((line) => line !== undefined);
    return lines.length === 0 ? undefined : lines.join('\n');
  }

  #missing(families: readonly string[], served: readonly string[]): string | undefined {
    if (families.length === 0) return undefined;
    const why = served.length === 0 ? '' : families.some((family) => served.includes(family)) ? ', though it has some' : ' and has none';
    return this.#remark(`the peer gave no ${families.join(' or ')} address${why}: no ${families.join(' or ')} through this tunnel`);
  }

  #remark(sentence: string): string {
    return `  ${this.#paint.dim('·')} ${wrap(sentence, this.#columns - 4, '    ')}`;
  }
}

/** One sentence for why another pair of addresses comes next (RFC 4555 §3.1). */
export function nextAddress({ lost, silent, local, remote }: EventLine): string {
  return lost === undefined ? `no answer from ${text(silent)}; ${text(remote)} is tried` : `${text(lost)} is gone; ${text(local)} is tried`;
}

/** One sentence for which of two transports goes on (RFC 9329 §5.1). */
export function transportChosen(event: EventLine): string {
  const tcp = event.transport === 'tcp';
  if (typeof event.failure === 'string')
    return tcp ? `UDP is given up, TCP goes on: ${event.failure}` : `UDP goes on alone: ${event.failure}`;
  return tcp ? 'over TCP, since UDP gets no answer' : 'UDP was answered after all';
}

/** One sentence for what came of a rekeying that was only tried, and the fix where it failed. */
export function rekeyTested(event: EventLine, paint: Paint, columns: number): string {
  const what = text(event.what);
  if (event.error === undefined) {
    const suite = text(event.suite).replaceAll('/', ' / ');
    const pfs = what.startsWith('CHILD_SA') && !suite.includes('pfs ') ? ', without PFS' : '';
    return `${paint.green('✓')} ${wrap(`${what} can be rekeyed: ${suite}${pfs}`, columns - 2, '  ')}`;
  }
  const { message, hint } = event.error as { readonly message?: unknown; readonly hint?: unknown };
  const fix = typeof hint === 'string' ? `\n${wrap(`fix   ${hint}`, columns, '      ')}` : '';
  return `${paint.red('✗')} ${wrap(`${what} will end instead of being rekeyed: ${text(message)}`, columns - 2, '  ')}${fix}`;
}

/** Which was chosen, and what is missing for the best one that was not. */
export function planeLine(plane: string, better: readonly Lack[] = []): string {
  const [best] = better;
  const line = `data plane: ${PLANES.get(plane) ?? plane}`;
  return best === undefined ? line : `${line}; ${best.name} would serve better: ${best.why} (tunnelwright doctor)`;
}

const PLANES: ReadonlyMap<string, string> = new Map([
  ['netstack', 'netstack, in this process (no root needed)'],
  ['tun', 'tun, in user space behind a network interface'],
  ['netns', 'netns, for programs in a namespace of its own (no root needed)'],
  ['xfrm', 'xfrm, in the kernel'],
]);

/** What the identity rests on: the certificate with its issuer, the key, the secret, or nothing. */
function whoItIs(id: string, method: string, description: string): string {
  if (method === 'NULL_AUTHENTICATION') return `the peer is ${description}; whoever is on the way could pose as it`;
  if (description === 'psk' || method === 'SHARED_KEY_MIC') return `${id} proved with the pre-shared key`;
  return `${id} proved with ${description.includes('(pinned') ? 'the public key' : 'a certificate:'} ${description}`;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);
const list = (value: unknown): string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);
/** Milliseconds in which nobody brings up a tunnel. */
const AT_ONCE = 1;

import type { EventLine } from '../../product/control/index.ts';
import type { Paint } from '../context.ts';
import type { Output } from '../output.ts';
import { nextAddress, rekeyTested, transportChosen } from './steps.ts';
import { wrap } from './text.ts';
import { formatBytes, formatLatency } from './units.ts';

/** Events as a log: who came is told by name when they leave, whatever number the IKE SA has by then. */
export class EventLog {
  readonly #out: Pick<Output, 'paint' | 'columns' | 'verbose'>;
  readonly #names = new Map<number, string>();

  constructor(out: Pick<Output, 'paint' | 'columns' | 'verbose'>) {
    this.#out = out;
  }

  /** One event as a line of a log; undefined for what is only of interest with more -v. */
  line(event: EventLine): string | undefined {
    const { paint, columns, verbose } = this.#out;
    const text = renderEvent(event, paint, columns, verbose, this.#names.get(Number(event.ikeSa)));
    this.#learn(event);
    return text;
  }

  #learn(event: EventLine): void {
    if (event.event === 'ike-up') {
      const { remoteId } = event.info as Readonly<Record<string, unknown>>;
      if (typeof remoteId === 'string') this.#names.set(Number(event.ikeSa), remoteId);
    } else if (event.event === 'ike-rekeyed') {
      const name = this.#names.get(Number(event.from));
      if (name !== undefined) this.#names.set(Number(event.to), name);
    } else if (event.event === 'ike-down') this.#names.delete(Number(event.ikeSa));
  }
}

/** @param name of the peer, where it is known */
export function renderEvent(event: EventLine, paint: Paint, columns: number, verbose: number, name?: string): string | undefined {
  const body = describe(event, paint, verbose, name);
  if (body === undefined) return undefined;
  const time = new Date(Date.parse(event.at)).toTimeString().slice(0, 8);
  return `${paint.dim(time)}  ${wrap(body, columns - 10, ' '.repeat(10))}`;
}

function describe(event: EventLine, paint: Paint, verbose: number, name: string | undefined): string | undefined {
  const sa = `#${text(event.ikeSa)}`;
  switch (event.event) {
    case 'ike-up': {
      const info = event.info as Readonly<Record<string, unknown>>;
      const assigned = Array.isArray(info.assigned) ? info.assigned.join(' ') : '';
      return `${paint.green('up')}    ${text(info.remoteId)}  ${sa}  ${text(info.remote)}  ${assigned}  ${text(info.suite)}`.replaceAll(
        / {3,}/g,
        '  ',
      );
    }
    case 'ike-down': {
      // The new one goes on in its place.
      if (REPLACED.has(text(event.reason)) && verbose < 1) return undefined;
      const why = messageOf(event.error);
      // A goodbye is no failure.
      const calm = why === '' || (event.error as { code?: unknown }).code === 'CLOSED_BY_PEER';
      const mark = calm ? paint.red('down') : `${paint.red('✗')}   `;
      return `${mark}  ${name ?? text(event.connection)}  ${sa}  ${why || text(event.reason)}${verbose > 0 ? hintOf(event.error) : ''}`;
    }
    case 'trying-address':
      return `next  ${text(event.connection)}  ${sa}  ${nextAddress(event)}`;
    case 'trying-tcp':
      return `tcp   ${text(event.connection)}  ${sa}  UDP gets no answer; TCP ${text(event.remote)} is tried`;
    case 'transport-chosen':
      return `${text(event.transport)}   ${text(event.connection)}  #${text(event.to)}  ${transportChosen(event)}`;
    case 'stream':
      return `tcp   ${name ?? text(event.connection)}  ${sa}  ${text(event.remote)}  ${event.change === 'lost' ? 'the TCP connection is gone; the tunnel waits for another one' : 'connected again'}`;
    case 'moved':
      return `moved  ${text(event.connection)}  ${sa}  ${text(event.local)} ⇄ ${text(event.remote)}  ${text(event.why)}`;
    case 'synchronised':
      return `sync  ${name ?? text(event.connection)}  ${sa}  ${event.byUs === true ? 'we took over, and the peer' : 'the peer took over, and we'} agreed to other counters`;
    case 'not-resumed':
      return `again ${text(event.connection)}  ${sa}  not resumed: ${text(event.reason)}; the whole handshake follows`;
    case 'redirected':
      return event.byUs === true
        ? `sent  ${name ?? text(event.connection)}  ${sa}  to ${text(event.gateway)}`
        : `sent  to ${text(event.gateway)} by ${name ?? 'the gateway'}  ${text(event.connection)}  ${sa}`;
    case 'failed':
      return `${paint.red('✗')}     ${text(event.connection)}  ${text(event.what)}: ${messageOf(event.error)}${hintOf(event.error)}`;
    case 'child-up':
      return verbose < 1 ? undefined : `child ${text(event.name)}  #${text(event.child)}  up  ${text(event.suite)}`;
    case 'child-down':
      return verbose < 1 ? undefined : `child ${text(event.name)}  #${text(event.child)}  down: ${text(event.reason)}`;
    case 'ike-rekeyed':
    case 'child-rekeyed':
      return verbose < 1
        ? undefined
        : `${event.event === 'ike-rekeyed' ? 'IKE SA' : 'child'} #${text(event.from)} rekeyed to #${text(event.to)} by ${event.byUs === true ? 'us' : 'the peer'}`;
    case 'ike-reauthenticated':
      return verbose < 1
        ? undefined
        : `IKE SA #${text(event.from)} gives way to #${text(event.to)}: ${event.byUs === true ? 'we' : 'the peer'} authenticated anew`;
    case 'rekey-tested':
      return rekeyTested(event, paint, 400);
    case 'exchange':
      return verbose < 1
        ? undefined
        : `${event.initiator === true ? '→' : '←'} ${text(event.exchange)}  ${sa}  ${text(event.remote)}  ${formatBytes(Number(event.requestOctets))} → ${formatBytes(Number(event.responseOctets))}  ${formatLatency(Number(event.took))}  ${text(event.summary)}`;
    case 'retransmit':
      return verbose < 1 ? undefined : `no answer to ${text(event.exchange)} of ${sa}, asked again (${text(event.attempt)})`;
    case 'drop':
      return verbose < 1 ? undefined : `dropped  ${text(event.remote)}  ${text(event.cause)}: ${text(event.detail)}`;
    case 'missed':
      return `… ${text(event.lines)} events were left out: this terminal reads too slowly`;
    case 'message':
      return verbose < 2 ? undefined : `${event.direction === 'in' ? '←' : '→'} ${text(event.text)}`;
    default:
      return undefined;
  }
}

const messageOf = (error: unknown): string => text((error as { message?: unknown } | undefined)?.message);

const hintOf = (error: unknown): string => {
  const hint = (error as { hint?: unknown } | undefined)?.hint;
  return typeof hint === 'string' ? `\nfix   ${hint}` : '';
};

const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '');

const REPLACED: ReadonlySet<string> = new Set([
  'rekeyed',
  'authenticated anew',
  'the other transport was answered',
  'the other transport goes on alone',
]);

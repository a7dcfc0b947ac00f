import type { Address } from '../../core/bytes/index.ts';
import { classifyEncapsulated, NON_ESP_MARKER_LENGTH } from '../../core/esp/index.ts';
import type { Datagram } from '../../core/ike/effects.ts';
import type { Counters } from './counters.ts';

/** Whom a message is for that came through UDP encapsulation or over a stream. */
export interface MessageSinks {
  /** @returns false for what nobody could make sense of: too much of it, and a stream is closed */
  onIke(datagram: Datagram): boolean;
  /** @returns false as above */
  onEsp(packet: Uint8Array, local: Address, ip: string, port: number, transport?: 'tcp'): boolean;
}

/**
 * IKE behind its non-ESP marker and ESP are told apart and handed on (RFC 3948 §2.2, RFC 9329 §6.1); keepalives are dropped in silence.
 * @returns false for what nobody could make sense of
 */
export function handOn(
  sinks: MessageSinks,
  counters: Counters,
  message: Uint8Array,
  { local, remote, transport }: { readonly local: Address; readonly remote: Address; readonly transport?: 'tcp' },
): boolean {
  switch (classifyEncapsulated(message)) {
    case 'esp':
      return sinks.onEsp(message, local, remote.ip, remote.port, transport);
    case 'ike':
      counters.add('datagrams', 'ike in');
      return sinks.onIke(ikeDatagram(message, local, remote, transport));
    case 'keepalive':
      counters.add('datagrams', 'keepalive in');
      return true;
    case 'invalid':
      counters.add('datagrams', 'neither IKE nor ESP');
      return false;
  }
}

function ikeDatagram(message: Uint8Array, local: Address, remote: Address, transport: 'tcp' | undefined): Datagram {
  const data = message.subarray(NON_ESP_MARKER_LENGTH);
  return transport === undefined ? { local, remote, data, encap: true } : { local, remote, data, encap: true, transport };
}

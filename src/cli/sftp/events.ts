import { printable } from '../../core/bytes/index.ts';
import type { SftpServerEvent } from '../../product/sftp/index.ts';
import { formatBytes } from '../render/units.ts';

/** What a peer did by SFTP, for the log of `serve`. */
export function sftpLine(event: SftpServerEvent): string {
  return printable(`${event.peer} ${whatOf(event)}`);
}

function whatOf(event: SftpServerEvent): string {
  switch (event.kind) {
    case 'opened':
      return `is here, as ${event.user}`;
    case 'closed':
      return 'is gone';
    case 'file':
      return [
        event.read > 0 ? `got ${formatBytes(event.read)} of ${event.path}` : '',
        event.written > 0 ? `sent ${formatBytes(event.written)} to ${event.path}` : '',
      ]
        .filter((part) => part !== '')
        .join(', ');
    case 'changed':
      return `${event.what} ${event.path}${event.to === undefined ? '' : ` to ${event.to}`}`;
    case 'refused':
      return `was refused: ${event.what}: ${event.why}`;
  }
}

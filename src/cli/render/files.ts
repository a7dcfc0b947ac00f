import type { FileServerEvent } from '../../product/transfer/index.ts';
import { formatBytes, formatCount } from './units.ts';

/** What a peer did with our files; undefined for what is on its way. */
export function fileLine(event: FileServerEvent): string | undefined {
  const peer = event.peer === '' ? 'somebody' : event.peer;
  switch (event.kind) {
    case 'stored':
      return `${peer} sent ${event.file.path.join('/')}  ${formatBytes(event.file.length)}`;
    case 'unpacked':
      return `${peer} sent ${formatCount(event.files.files)} files  ${formatBytes(event.files.bytes)}`;
    case 'sent': {
      const { name, from, bytes, total } = event.file;
      return `${peer} got ${name}  ${formatBytes(bytes)}${bytes < total - from ? ` of ${formatBytes(total - from)}` : ''}`;
    }
    case 'refused':
      return `${peer}: ${event.what}: ${event.error.message}`;
    default:
      return undefined;
  }
}

export { TransferError } from './errors.ts';
export { get } from './get.ts';
export { list } from './list.ts';
export type { Connect } from './peer-http.ts';
export type { TransferProgress } from './progress.ts';
export { receive } from './receive.ts';
export { send } from './send.ts';
export { FileServer, type FileServerEvent, type FileServerOptions } from './server.ts';
export type { Timing } from './timing.ts';

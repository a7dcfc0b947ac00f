export { Passwords, readAuthorizedKeys } from './authorized-keys.ts';
export { getFile } from './get.ts';
export { type OwnHostKey, ownHostKey } from './host-key-file.ts';
export { KnownHosts } from './known-hosts.ts';
export { SftpLink } from './link.ts';
export type { Credential, Question } from './login.ts';
export type { FileResult } from './moving.ts';
export { putFile } from './put.ts';
export { SftpServer, type SftpServerEvent } from './server.ts';

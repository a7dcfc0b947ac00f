/** The local API of a running instance: what it must implement (`ControlTarget`), the server that speaks for it, and the client. */
export * from './api.ts';
export { ControlClient } from './client.ts';
export {
  type ChildSaDocument,
  type IkeSaDocument,
  type PeerStatus,
  type SasDocument,
  type StatusDocument,
  sasDocument,
  statusDocument,
  type VersionDocument,
  versionDocument,
} from './documents.ts';
export { type EventLine, ikeSaDocument, isoClock, noticeLine, progressToLine } from './encode.ts';
export { type ControlCode, ControlError, errorToBody, RemoteError } from './errors.ts';
export { ControlServer, type ControlServerOptions } from './server.ts';
export { defaultSocketPath, listSockets, type SocketSurroundings, socketFolder } from './socket-path.ts';
export { noWay } from './way-server.ts';

import { join } from 'node:path';
import { formatIdentity } from '../../core/pki/identity.ts';
import { matchIdentity } from '../../core/pki/identity-pattern.ts';
import type { Identification } from '../../core/wire/payloads/types.ts';
import type { Instance } from '../../host/engine/instance.ts';
import type { StreamServer, StreamSocket } from '../../host/platform/stream-socket.ts';
import type { SftpSettings } from '../../product/config/index.ts';
import { ownHostKey, Passwords, readAuthorizedKeys, SftpServer, type SftpServerEvent } from '../../product/sftp/index.ts';

export interface InstanceSftpOptions {
  readonly settings: SftpSettings;
  readonly home: string;
  readonly onEvent: ((event: SftpServerEvent) => void) | undefined;
}

/** SFTP for the peers of an instance, at a port of its inner addresses. */
export class InstanceSftp {
  readonly folder: string;
  readonly port: number;
  /** By which clients know it, `SHA256:…`. */
  readonly fingerprint: string;
  readonly #server: SftpServer;
  readonly #listener: StreamServer;

  /** @throws ConfigError, TransferError, DataPlaneError `SSH2_MISSING` */
  static async open(instance: Instance, { settings, home, onEvent }: InstanceSftpOptions): Promise<InstanceSftp> {
    const { folder, readOnly, ids, authorizedKeys, passwords, port, largest, keepFree } = settings;
    const { key, fingerprint } = await ownHostKey(settings.hostKey ?? join(home, '.local', 'state', 'tunnelwright', 'sftp_host_key'));
    const server = await SftpServer.open({
      folder,
      hostKey: key,
      readOnly,
      largest,
      keepFree,
      authorizedKeys: authorizedKeys === undefined ? undefined : await readAuthorizedKeys(authorizedKeys),
      passwords: passwords === undefined ? undefined : await Passwords.read(passwords),
      ...(onEvent === undefined ? {} : { onEvent }),
    });
    const take = (stream: StreamSocket): void => {
      const id = peerAt(instance, stream.remoteAddress);
      const peer = id === undefined ? stream.remoteAddress : formatIdentity(id);
      if (ids.length === 0 || (id !== undefined && ids.some((pattern) => matchIdentity(pattern, id)))) {
        server.accept(stream, peer);
        return;
      }
      onEvent?.({ kind: 'refused', peer, what: 'the connection', why: 'is not among those who may use SFTP' });
      stream.resetAndDestroy();
    };
    try {
      return new InstanceSftp(settings, fingerprint, server, instance.inside.listen({ port, noDelay: true }, take));
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  private constructor({ folder, port }: SftpSettings, fingerprint: string, server: SftpServer, listener: StreamServer) {
    this.folder = folder;
    this.port = port;
    this.fingerprint = fingerprint;
    this.#server = server;
    this.#listener = listener;
  }

  async close(): Promise<void> {
    this.#listener.close();
    await this.#server.close();
  }
}

/** Who was given an inner address, as the tunnel's authentication says. */
function peerAt(instance: Instance, ip: string): Identification | undefined {
  return instance.ikeSas().find(({ assigned, assignedToUs }) => !assignedToUs && assigned.includes(ip))?.remoteId;
}

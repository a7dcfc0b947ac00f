import { flag, listOf, path, port } from '../formats.ts';
import { identityPattern } from '../identities.ts';
import { key, required, section } from './section.ts';

export const sftp = section({
  folder: required(path, 'The folder that clients take for the whole file system; nothing beside it can be reached.'),
  read_only: key(flag, 'Files may be read, and nothing changed.', 'no'),
  ids: key(listOf(identityPattern), 'Who may come in: identities of peers, with `*` for any text.', 'whoever is connected'),
  authorized_keys: key(
    path,
    'Public keys, one of which a client has to hold as well: lines TYPE KEY COMMENT, as OpenSSH has them.',
    'none is asked for: the tunnel has proven who a peer is',
  ),
  passwords: key(
    path,
    'A file of mode 0600 with lines USER:PASSWORD, of which a client has to know one; or a key, where both are given.',
    'none is asked for',
  ),
  host_key: key(
    path,
    'Our private key, by which clients know this server. It is made on first use (Ed25519, mode 0600).',
    '`sftp_host_key` in the folder `state`, or in `~/.local/state/tunnelwright` without one',
  ),
  port: key(port, 'TCP port inside the tunnel; no socket of the machine itself is opened.', 22),
});

import { listOf } from '../formats.ts';
import { identityPattern } from '../identities.ts';
import { rangeList } from './credentials.ts';
import { key, required, section } from './section.ts';

export const behind = section({
  networks: required(
    rangeList,
    'Addresses, prefixes and ranges that clients reach through ordinary sockets of this machine: TCP, UDP and echo requests.',
  ),
  ids: key(listOf(identityPattern), 'Whose clients may: identities, with `*` for any text.', 'all clients'),
});

import { fromUtf8, printable } from '../../bytes/bytes.ts';
import { formatIp } from '../../bytes/ip-address.ts';
import { IdType, nameOf } from '../iana.ts';
import type { Identification } from '../payloads/types.ts';
import { formatDistinguishedName } from './distinguished-name.ts';
import { shortHex } from './octets.ts';

/**
 * An identity as people write it: an address, `vpn.example.com`, `carol@example.com`, `C=CH, O=Example, CN=gw`. Octets that are no
 * text stand as `0x…`, with the type before them where it is not evident.
 */
export function formatIdentification(id: Identification): string {
  const { idType, data } = id;
  if (idType === IdType.ID_IPV4_ADDR && data.length === 4) return formatIp(data);
  if (idType === IdType.ID_IPV6_ADDR && data.length === 16) return formatIp(data);
  if (idType === IdType.ID_FQDN || idType === IdType.ID_RFC822_ADDR)
    return data.length === 0 ? '(empty)' : printable(fromUtf8(data.subarray(0, SHOWN)));
  if (idType === IdType.ID_DER_ASN1_DN) return formatDistinguishedName(data) ?? `ID_DER_ASN1_DN ${shortHex(data)}`;
  if (idType === IdType.ID_KEY_ID) return isVisible(data) ? fromUtf8(data) : shortHex(data);
  if (idType === IdType.ID_NULL) return data.length === 0 ? 'ID_NULL' : `ID_NULL ${shortHex(data)}`;
  return `${nameOf(IdType, idType)} ${shortHex(data)}`;
}

const isVisible = (data: Uint8Array): boolean => data.length > 0 && data.length <= SHOWN && data.every((c) => c >= 0x20 && c < 0x7f);

const SHOWN = 255;

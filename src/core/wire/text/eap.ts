import { printable } from '../../bytes/bytes.ts';
import { EapCode, EapType, nameOf } from '../iana.ts';
import { plural } from './octets.ts';

/** `REQUEST 17 MSCHAPV2, 43 octets`. Only what the EAP header says: what a method carries may be a credential. */
export function describeEap(data: Uint8Array): string {
  const [code, identifier, , , type] = data;
  if (code === undefined || identifier === undefined) return `${plural(data.length, 'octet')}, too short for EAP`;
  const stated = ((data[2] ?? 0) << 8) | (data[3] ?? 0);
  const octets = stated === data.length ? plural(data.length, 'octet') : `${plural(data.length, 'octet')}, stated as ${stated}`;
  const method = (code === EapCode.REQUEST || code === EapCode.RESPONSE) && type !== undefined ? ` ${nameOf(EapType, type)}` : '';
  return printable(`${nameOf(EapCode, code)} ${identifier}${method}, ${octets}`);
}

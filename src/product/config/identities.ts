import { TunnelwrightError } from '../../core/bytes/errors.ts';
import { parseIdentity } from '../../core/pki/identity.ts';
import { parseIdentityPattern } from '../../core/pki/identity-pattern.ts';
import { text } from './formats.ts';
import { invalid, type Parsed, valid } from './values.ts';

export const identity = text(
  'Identity',
  'An identity: a DNS name, user@domain, an IP address, a distinguished name, or one with its type before it.',
  ['vpn.example.com', 'alice@example.com', '192.0.2.1', 'C=CH, O=lab, CN=left', 'keyid:plant 7'],
  (input) => attempt(() => parseIdentity(input)),
);

export const identityPattern = text(
  'IdentityPattern',
  'An identity, or a pattern for many.',
  ['%any', '*.example.com', '*@example.com', 'C=CH, O=lab, CN=*', '192.0.2.0/24'],
  (input) => attempt(() => parseIdentityPattern(input)),
);

function attempt<T>(parse: () => T): Parsed<T> {
  try {
    return valid(parse());
  } catch (error) {
    if (error instanceof TunnelwrightError) return invalid(error.message, error.hint);
    throw error;
  }
}

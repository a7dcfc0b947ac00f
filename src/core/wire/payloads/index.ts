import type { PayloadDefinition, PayloadKind } from '../payload.ts';
import auth from './auth.ts';
import cert from './cert.ts';
import certreq from './certreq.ts';
import cp from './cp.ts';
import del from './delete.ts';
import eap from './eap.ts';
import { idi, idr } from './id.ts';
import ke from './ke.ts';
import nonce from './nonce.ts';
import notify from './notify.ts';
import ps from './ps.ts';
import sa from './sa.ts';
import sk from './sk.ts';
import skf from './skf.ts';
import { tsi, tsr } from './ts.ts';
import vendorId from './vendor-id.ts';

/** A definition whose kind is known only at run time: what `definitionOf(payload)` gives fits that payload. */
export type AnyPayloadDefinition = PayloadDefinition<PayloadKind>;

/** Every payload we know, in the order of RFC 7296 chapter 3. Adding one is a file beside these and a line here. */
export const PAYLOADS: readonly AnyPayloadDefinition[] = [
  sa,
  ke,
  idi,
  idr,
  cert,
  certreq,
  auth,
  nonce,
  notify,
  del,
  vendorId,
  tsi,
  tsr,
  sk,
  cp,
  eap,
  skf,
  ps,
];

/** Undefined for a payload type we do not know. */
export const definitionByType = (type: number): AnyPayloadDefinition | undefined => byType[type];

/** Undefined for `unknown`. */
export const definitionByKind = (kind: PayloadKind): AnyPayloadDefinition | undefined => byKind.get(kind);

const byType: readonly (AnyPayloadDefinition | undefined)[] = Array.from({ length: 256 }, (_, type) =>
  PAYLOADS.find((definition) => definition.type === type),
);
const byKind = new Map(PAYLOADS.map((definition) => [definition.notation, definition]));

import { GUEST, STRONGSWAN } from '../interop/support/requirements.ts';
import { cases } from './cases/strongswan.ts';
import { addStrongswan } from './support/strongswan.ts';
import { guestSuite } from './support/suite.ts';

/** The guest, and this machine's strongSwan to put into it. */
const needs = { name: GUEST.name, missing: () => GUEST.missing() ?? STRONGSWAN.missing() };

guestSuite('the xfrm plane and strongSwan with the same kernel', 'strongswan', cases, { prepare: addStrongswan, needs });

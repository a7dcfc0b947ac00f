import { cases } from './cases/machine.ts';
import { guestSuite } from './support/suite.ts';

guestSuite('the emulated machine', 'machine', cases);

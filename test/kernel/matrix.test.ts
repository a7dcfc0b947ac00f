import { cases } from './cases/matrix.ts';
import { guestSuite } from './support/suite.ts';

guestSuite("what two ends can agree on: our ESP and AH in user space, and the kernel's", 'matrix', cases);

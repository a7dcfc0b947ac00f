import { cases } from './cases/xfrm.ts';
import { guestSuite } from './support/suite.ts';

guestSuite("netlink and the kernel's own ESP", 'xfrm', cases);

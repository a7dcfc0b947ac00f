import { walkPart } from './walks.ts';

walkPart(0, 2);

import { walkPart } from './walks.ts';

walkPart(1, 2);

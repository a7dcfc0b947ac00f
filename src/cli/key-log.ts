import { absolutePath } from '../product/config/index.ts';
import { KeyLog } from '../product/explain/key-log.ts';

/** @param folder as it was given */
export const openKeyLog = (folder: string, cwd: string): KeyLog => new KeyLog(absolutePath(folder, cwd));

import { DataPlaneError } from '../../core/bytes/index.ts';

/** A file that was asked for and could not be written. */
export const unwritable = (path: string, cause: NodeJS.ErrnoException): DataPlaneError =>
  new DataPlaneError(`${path} cannot be written: ${cause.message}`, {
    code: 'FILE_UNWRITABLE',
    ...(cause.code === undefined ? {} : { errno: cause.code }),
    hint: cause.code === 'ENOSPC' ? 'Make room on the disk.' : 'Name a folder that you may write to.',
    cause,
  });

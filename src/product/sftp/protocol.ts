/** Numbers of SFTP version 3, which every server speaks: draft-ietf-secsh-filexfer-02. Names as there, without their prefix. */

/** §3. */
export const VERSION = 3;

/** SSH_FXP_*, §3. */
export const PacketType = {
  INIT: 1,
  VERSION: 2,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  LSTAT: 7,
  FSTAT: 8,
  SETSTAT: 9,
  FSETSTAT: 10,
  OPENDIR: 11,
  READDIR: 12,
  REMOVE: 13,
  MKDIR: 14,
  RMDIR: 15,
  REALPATH: 16,
  STAT: 17,
  RENAME: 18,
  READLINK: 19,
  SYMLINK: 20,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED: 200,
  EXTENDED_REPLY: 201,
} as const;

/** SSH_FX_*, §7. */
export const StatusCode = {
  OK: 0,
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  BAD_MESSAGE: 5,
  NO_CONNECTION: 6,
  CONNECTION_LOST: 7,
  OP_UNSUPPORTED: 8,
} as const;
export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];

/** SSH_FXF_*, §6.3. */
export const OpenFlag = { READ: 0x01, WRITE: 0x02, APPEND: 0x04, CREAT: 0x08, TRUNC: 0x10, EXCL: 0x20 } as const;

/** SSH_FILEXFER_ATTR_*, §5. */
export const AttributeFlag = { SIZE: 0x01, UIDGID: 0x02, PERMISSIONS: 0x04, ACMODTIME: 0x08, EXTENDED: 0x8000_0000 } as const;

/** Extensions, by the names and versions that both ends announce: OpenSSH's PROTOCOL §4, and draft-ietf-secsh-filexfer-extensions-00 §3. */
export const Extension = {
  POSIX_RENAME: 'posix-rename@openssh.com',
  STATVFS: 'statvfs@openssh.com',
  FSTATVFS: 'fstatvfs@openssh.com',
  HARDLINK: 'hardlink@openssh.com',
  FSYNC: 'fsync@openssh.com',
  LSETSTAT: 'lsetstat@openssh.com',
  LIMITS: 'limits@openssh.com',
  CHECK_FILE: 'check-file',
  CHECK_FILE_HANDLE: 'check-file-handle',
} as const;

/** The type of a file in its permissions (POSIX). */
export const FileType = { MASK: 0o170000, FOLDER: 0o040000, REGULAR: 0o100000, LINK: 0o120000 } as const;

/** OpenSSH takes no larger one (SFTP_MAX_MSG_LENGTH). */
export const LARGEST_PACKET = 256 * 1024;

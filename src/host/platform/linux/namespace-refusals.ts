import { DataPlaneError } from '../../../core/bytes/index.ts';

/** Switches of the kernel by which an ordinary user may be forbidden to make namespaces, as they are read; undefined where there is none. */
export interface Forbidding {
  /** user.max_user_namespaces */
  readonly most: string | undefined;
  /** kernel.unprivileged_userns_clone, of Debian's kernels before 5.10 */
  readonly clone: string | undefined;
  /** kernel.apparmor_restrict_unprivileged_userns */
  readonly appArmor: string | undefined;
}

/**
 * Why `unshare` came to nothing, in one sentence, and what to do.
 * @param said what it wrote to its error stream, or why it could not be started
 */
export function whyNoNamespace(said: string, { most, clone, appArmor }: Forbidding): DataPlaneError {
  const refusal = (why: string, hint: string, code = 'NAMESPACES_FORBIDDEN'): DataPlaneError =>
    new DataPlaneError(`this user may not make a network namespace: ${why}`, { code, backend: 'netns', hint: `${hint} ${INSTEAD}` });
  if (/ENOENT/.test(said))
    return new DataPlaneError('the program unshare is missing', {
      code: 'UNSHARE_MISSING',
      backend: 'netns',
      hint: `Install util-linux. ${INSTEAD}`,
    });
  if (most === '0')
    return refusal(
      'there may be none at all (user.max_user_namespaces is 0)',
      'Root can permit them: sysctl user.max_user_namespaces=15000.',
    );
  if (/No space left/i.test(said))
    return refusal(
      'there are as many as there may be, or they are nested too deep',
      'Root can permit more: sysctl user.max_user_namespaces and user.max_net_namespaces.',
    );
  if (clone === '0')
    return refusal('kernel.unprivileged_userns_clone is 0', 'Root can permit it: sysctl kernel.unprivileged_userns_clone=1.');
  if (appArmor === '1')
    return refusal(
      'AppArmor forbids it (kernel.apparmor_restrict_unprivileged_userns is 1)',
      'Root can permit it to unshare by a profile with `userns,`, or to all: sysctl kernel.apparmor_restrict_unprivileged_userns=0.',
    );
  if (/not permitted|denied/i.test(said))
    return refusal(
      'this container, or a filter on this process, forbids it',
      'Start the container with a seccomp profile that permits unshare and mount.',
    );
  return refusal(
    said
      .trim()
      .split('\n')[0]
      ?.replace(/^unshare: /, '') || 'unshare says nothing',
    'Try it by hand: unshare -Urnm true.',
  );
}

const INSTEAD = '--plane netstack needs no namespace: Tunnelwright’s own commands go through the tunnel, other programs do not.';

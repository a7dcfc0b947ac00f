import { must } from '../../../interop/support/process.ts';
import type { Contestant } from '../contestant.ts';

/** No tunnel: what the link and both ends' TCP carry, the ceiling of the others. */
export const plain: Contestant = {
  name: 'plain',
  missing: () => undefined,
  start: async (_scope, { network }) => {
    for (const [here, there] of [
      [network.left, network.right],
      [network.right, network.left],
    ] as const)
      await must('ip', ['-n', here.namespace, 'route', 'add', there.network, 'via', there.address, 'src', here.inside]);
    return { daemons: [], log: () => '' };
  },
};

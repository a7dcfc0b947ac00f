import { join } from 'node:path';
import { type SwanctlOptions, swanctlConf } from '../../../interop/support/profile.ts';
import { STRONGSWAN } from '../../../interop/support/requirements.ts';
import { Strongswan } from '../../../interop/support/strongswan.ts';
import { type Contestant, ESP_SUITE, IKE_SUITE } from '../contestant.ts';

/** Its ESP in user space, kernel-libipsec, as the distribution ships it, without a log. */
export const strongswan: Contestant = {
  name: 'strongswan',
  missing: () => STRONGSWAN.missing(),
  start: async (scope, { folder, network: { left, right }, identities }) => {
    const start = (side: 'left' | 'right'): Promise<Strongswan> => {
      const [host, peer] = side === 'left' ? [left, right] : [right, left];
      const options: SwanctlOptions = { host, peer, identity: identities[side], ike: IKE_SUITE, esp: ESP_SUITE };
      return Strongswan.start(scope, { folder: join(folder, side), host, swanctl: swanctlConf(options), charon: { filelog: {} } });
    };
    const ends = { right: await start('right'), left: await start('left') };
    await ends.left.initiate();
    return { daemons: [ends.left.pid, ends.right.pid], log: () => `${ends.left.log()}\n${ends.right.log()}` };
  },
};

import { join } from 'node:path';
import type { Host } from '../../interop/support/network.ts';
import { Daemon, eventually, must, PATIENCE } from '../../interop/support/process.ts';
import { createIdentities, swanctlConf } from '../../interop/support/profile.ts';
import type { Scope } from '../../interop/support/scope.ts';
import { Strongswan } from '../../interop/support/strongswan.ts';
import { configuration } from '../../interop/support/tunnelwright.ts';
import {
  CONTROL,
  type CommandLine,
  commandWithin,
  RSYNC_PORT,
  startRsync,
  TUNNELWRIGHT,
  writeSettings,
} from '../../interop/transfer/ends.ts';

/** Three hosts in a row, of which the middle one has the relay, and what is to be sent: a file or a folder. */
export interface Lab {
  readonly folder: string;
  readonly file: string;
  readonly left: Host;
  readonly middle: string;
  readonly right: Host;
}

export interface Contestant {
  readonly name: string;
  /** A tunnel from left to right by the relay. @returns what sends the file, and the folder that it arrives in */
  start(scope: Scope, lab: Lab): Promise<{ readonly sends: CommandLine; readonly inbox: string }>;
}

export const sendOfOurs: Contestant = {
  name: 'Tunnelwright send',
  start: async (scope, { folder, file, left, right }) => {
    const identities = await createIdentities(folder, 'psk');
    const inbox = join(folder, 'inbox');
    const ends = {
      right: configuration({
        ...SUITES,
        host: right,
        peer: left,
        identity: identities.right,
        connection: { remote_addrs: '%any', pools: ['clients'] },
        child: { local_ts: '10.66.0.0/24', remote_ts: 'dynamic' },
        sections: { addresses: undefined, pools: { clients: { addrs: '10.66.0.0/24' } }, transfer: { inbox } },
      }),
      left: configuration({
        ...SUITES,
        host: left,
        peer: right,
        identity: identities.left,
        connection: { remote_addrs: left.peerAddress, vips: '0.0.0.0' },
        child: { local_ts: 'dynamic', remote_ts: '10.66.0.0/24' },
        sections: { addresses: [] },
      }),
    };
    await must('mkdir', [inbox]);
    const start = async (side: 'left' | 'right', words: readonly string[], said: string): Promise<void> => {
      const home = join(folder, side);
      await writeSettings(home, ends[side]);
      const { namespace } = side === 'left' ? left : right;
      const daemon = new Daemon(
        scope,
        side,
        ...commandWithin(namespace, home, [...TUNNELWRIGHT, ...words, '--config', 'tunnelwright.yaml']),
      );
      await eventually(
        `it says ${said}`,
        () => daemon.output.includes(said),
        PATIENCE,
        () => daemon.output,
      );
    };
    await start('right', ['serve'], 'listening on');
    await start('left', ['up', 'net'], '✓ up in');
    const command = [...TUNNELWRIGHT, 'send', file, 'net:', '--control', CONTROL];
    return { sends: commandWithin(left.namespace, join(folder, 'left'), command), inbox };
  },
};

/** Its ESP in user space, as its distribution ships it; TCP is the kernel's, whose congestion control stands in the name. */
export async function rsyncOverStrongswan({ left }: Lab): Promise<Contestant> {
  const congestion = (await must('ip', ['netns', 'exec', left.namespace, 'sysctl', '-n', 'net.ipv4.tcp_congestion_control'])).trim();
  return {
    name: `rsync over strongSwan (${congestion})`,
    start: async (scope, lab) => {
      const { folder, file, right } = lab;
      const identities = await createIdentities(folder, 'psk');
      const start = (side: 'left' | 'right', connection: Readonly<Record<string, string>>): Promise<Strongswan> => {
        const [host, peer] = side === 'left' ? [lab.left, right] : [right, lab.left];
        const swanctl = swanctlConf({ ...SUITES, host, peer, identity: identities[side], connection });
        return Strongswan.start(scope, { folder: join(folder, side), host, swanctl, charon: { filelog: {} } });
      };
      await start('right', { remote_addrs: '%any' });
      const initiator = await start('left', { remote_addrs: lab.left.peerAddress });
      await initiator.initiate();
      await startRsync(scope, right.namespace, folder, right.inside);
      const target = `rsync://${right.inside}:${RSYNC_PORT}/inbox/`;
      const command = ['rsync', '-rpt', '--partial', `--address=${lab.left.inside}`, file, target];
      return { sends: commandWithin(lab.left.namespace, folder, command), inbox: join(folder, 'inbox') };
    },
  };
}

const SUITES = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' };

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ControlClient } from '../../../../src/product/control/index.ts';
import { Daemon } from '../../../interop/support/process.ts';
import { NAMESPACES } from '../../../interop/support/requirements.ts';
import { configuration } from '../../../interop/support/tunnelwright.ts';
import { observedChecks } from '../checks.ts';
import { type Contestant, ESP_SUITE, IKE_SUITE } from '../contestant.ts';

/** The product as a user starts it: the command line on both ends, packets through a TUN device. */
export const tunnelwright: Contestant = {
  name: 'tunnelwright',
  missing: () => NAMESPACES.missing() ?? (BACKEND.some(existsSync) ? undefined : `${BACKEND[0]}: that data plane is not there yet`),
  start: async (scope, { folder, network, identities }) => {
    const { left, right } = network;
    const socket = (side: 'left' | 'right'): string => join(folder, side, 'control.sock');
    const start = async (side: 'left' | 'right', words: readonly string[]): Promise<Daemon> => {
      const [host, peer] = side === 'left' ? [left, right] : [right, left];
      const own = join(folder, side);
      await mkdir(own, { recursive: true });
      const file = join(own, 'tunnelwright.yaml');
      const configured = configuration({ host, peer, identity: identities[side], ike: IKE_SUITE, esp: ESP_SUITE });
      const whole = { ...configured, plane: 'tun', control: { socket: socket(side) } };
      await writeFile(file, JSON.stringify(whole, undefined, 2), { mode: 0o600 });
      const command = [process.execPath, join('dist', 'cli', 'main.js'), ...words, '--plane', 'tun', '--config', file];
      return new Daemon(scope, 'tunnelwright', 'ip', ['netns', 'exec', host.namespace, ...command], { env: { HOME: own, NO_COLOR: '1' } });
    };
    const ends = { right: await start('right', ['serve']), left: await start('left', ['up', 'net']) };
    const log = (): string => [ends.left, ends.right].map(({ output }) => `--- tunnelwright\n${output}`).join('\n');
    const controls = { left: new ControlClient(socket('left')), right: new ControlClient(socket('right')) };
    return { daemons: [ends.left.pid, ends.right.pid], log, checks: () => observedChecks(network, controls) };
  },
};

const BACKEND = [join('dist', 'host', 'dataplane', 'backends', 'tun.js'), join('dist', 'host', 'dataplane', 'backends', 'tun', 'index.js')];

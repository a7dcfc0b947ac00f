import { spawn } from 'node:child_process';
import { isIpv6 } from '../../core/bytes/index.ts';

/**
 * One echo request from this machine, by its own `ping`, which may do what an ordinary process may not.
 * @param size octets of data @param timeout milliseconds
 * @returns whether an answer came; false as well where there is no such program
 */
export function systemPing(ip: string, size: number, timeout: number): Promise<boolean> {
  const args = [
    isIpv6(ip) ? '-6' : '-4',
    '-n',
    '-q',
    '-c',
    '1',
    '-s',
    String(size),
    '-W',
    String(Math.max(1, Math.ceil(timeout / 1000))),
    ip,
  ];
  return new Promise((resolve) => {
    const child = spawn('ping', args, { stdio: 'ignore', timeout: timeout + 1000, killSignal: 'SIGKILL' });
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
  });
}

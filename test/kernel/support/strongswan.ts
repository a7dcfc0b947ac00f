import { readFileSync } from 'node:fs';
import { addLibraries, addProgram, type Initramfs } from '../../interop/support/initramfs.ts';
import { PLUGINS } from './charon.ts';

/** Puts this machine's strongSwan into a guest's image. */
export async function addStrongswan(image: Initramfs): Promise<void> {
  for (const program of ['/usr/sbin/charon-systemd', '/usr/sbin/swanctl']) await addProgram(image, [''], program);
  for (const name of PLUGINS.split(' ')) {
    const plugin = `/usr/lib/ipsec/plugins/libstrongswan-${name}.so`;
    image.file(plugin, readFileSync(plugin), 0o755);
    await addLibraries(image, [''], plugin);
  }
  image.file('/etc/passwd', 'root:x:0:0::/root:/bin/sh\n').file('/etc/group', 'root:x:0:\n');
}

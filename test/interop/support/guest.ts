import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { addModules, addProgram, type Initramfs } from './initramfs.ts';
import type { Host } from './network.ts';
import { Daemon, eventually, type Finished, PATIENCE } from './process.ts';
import type { Scope } from './scope.ts';

export interface GuestOptions {
  readonly folder: string;
  /** Our side of the wire: the tap is made in its namespace and has its device's name. */
  readonly host: Host;
  /** The guest's side. */
  readonly guest: Host;
  /** A folder with an unpacked kernel package. */
  readonly kernel: string;
  /** What the peer needs; the shell, its tools and the modules are added. */
  readonly image: Initramfs;
  /** Where `ip` comes from, see `addProgram`. */
  readonly systems: readonly string[];
  /** Modules of the kernel beside those that every guest has. */
  readonly modules?: readonly string[];
  /** MiB of memory: 512 unless told. The image stands in it twice while it is unpacked. */
  readonly memory?: number;
}

/**
 * A machine emulated in full, with a kernel of its own that has ESP and PF_KEY, which the machine under it may lack. One command runs at
 * a time. It goes with the scope.
 */
export class Guest {
  readonly host: Host;
  readonly #daemon: Daemon;
  readonly #serial: string;
  #last: Promise<unknown> = Promise.resolve();
  #waiting: { readonly answer: (line: string) => void; readonly fail: (why: string) => void } | undefined;
  #up = false;

  private constructor(host: Host, daemon: Daemon, serial: string) {
    this.host = host;
    this.#daemon = daemon;
    this.#serial = serial;
    createInterface({ input: daemon.child.stdout! }).on('line', (line) => {
      if (line === 'up') this.#up = true;
      else this.#waiting?.answer(line);
    });
    daemon.child.once('close', () => this.#waiting?.fail('the guest ended'));
  }

  static async start(
    scope: Scope,
    { folder, host, guest, kernel: system, image, systems, modules: more = [], memory = 512 }: GuestOptions,
  ): Promise<Guest> {
    const { kernel, modules } = await addModules(image, system, [...MODULES, ...more]);
    await addProgram(image, systems, '/usr/sbin/ip');
    image.file('/bin/busybox', readFileSync('/bin/busybox'), 0o755);
    image.file('/init', init(modules, guest), 0o755);
    const [disk, serial] = [join(folder, 'initramfs'), join(folder, 'serial.log')];
    await writeFile(disk, image.archive());
    const machine = [
      ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '1', '-m', `${memory}`, '-display', 'none', '-no-reboot', '-nodefaults'],
      ['-kernel', kernel, '-initrd', disk, '-append', 'console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on'],
      ['-serial', `file:${serial}`],
      ['-chardev', 'stdio,id=commands,signal=off', '-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=commands'],
      // without an option ROM: nobody boots from this network
      ['-netdev', `tap,id=wire,ifname=${host.device},script=no,downscript=no`, '-device', 'virtio-net-pci,netdev=wire,romfile='],
    ].flat();
    const daemon = new Daemon(scope, 'the guest', 'ip', ['netns', 'exec', host.namespace, 'qemu-system-x86_64', ...machine], {
      stdin: true,
    });
    const made = new Guest(guest, daemon, serial);
    await eventually(
      'the guest is up',
      () => made.#up || !daemon.running,
      4 * PATIENCE,
      () => made.log(),
    );
    if (!made.#up) throw new Error(`the guest did not start\n${made.log()}`);
    return made;
  }

  /** Runs a script of the shell to its end. `seconds` is how long it may take. */
  run(script: string, seconds = 30): Promise<Finished> {
    const mine = this.#last.then(() => this.#runNow(script, seconds));
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** Runs a script that has to succeed and gives its output. */
  async must(script: string, seconds?: number): Promise<string> {
    const { status, stdout } = await this.run(script, seconds);
    if (status !== 0) throw new Error(`in the guest: ${script}\nended with ${status}\n${stdout}\n${this.log()}`);
    return stdout;
  }

  async write(path: string, text: string): Promise<void> {
    await this.must(`echo ${Buffer.from(text).toString('base64')} | base64 -d > ${path} && chmod 600 ${path}`);
  }

  /** The last of its console, where daemons log to. */
  log(): string {
    const text = (() => {
      try {
        return readFileSync(this.#serial, 'utf8');
      } catch {
        return '';
      }
    })();
    const said = this.#daemon.output.split('\n').filter((line) => !ANSWER.test(line));
    return [...text.split('\n').slice(-120), ...said.slice(-20)].join('\n');
  }

  #runNow(script: string, seconds: number): Promise<Finished> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(given);
        this.#waiting = undefined;
        reject(new Error(`${why}: ${script}\n${this.log()}`));
      };
      const given = setTimeout(() => fail('the guest does not answer to'), (seconds + 15) * 1000);
      const answer = (line: string): void => {
        clearTimeout(given);
        this.#waiting = undefined;
        const [status = '', output = ''] = line.split(' ');
        resolve({ status: Number(status), stdout: Buffer.from(output, 'base64').toString(), stderr: '' });
      };
      this.#waiting = { answer, fail };
      if (!this.#daemon.running) return fail('the guest has ended before');
      this.#daemon.child.stdin!.write(`${seconds} ${Buffer.from(script).toString('base64')}\n`);
    });
  }
}

/** The first process: loads the modules, brings up the wire, then runs what comes over the port, one line for each script. */
function init(modules: readonly string[], { address, peerAddress, inside }: Host): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /proc /sys /dev /tmp /run /var/run /var/empty /root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
for module in ${modules.join(' ')}; do insmod $module; done
ip link set lo up
ip addr add ${inside}/24 dev lo
ip addr add ${address}/24 dev eth0
ip link set eth0 up
ip route add default via ${peerAddress}
exec 3<>"$(ls /dev/vport*)"
echo up >&3
while read -r seconds script <&3; do
  echo "$script" | base64 -d > /tmp/script
  timeout "$seconds" sh /tmp/script < /dev/null > /tmp/output 2>&1 3>&-
  echo "$? $(base64 -w 0 /tmp/output)" >&3
done
poweroff -f
`;
}

/** What a script ended with and printed, see `init`. */
const ANSWER = /^\d+ [\w+/]*=*$/;
/** Devices, XFRM and PF_KEY, and every algorithm by name, since nothing in the guest loads modules on demand. */
const MODULES = [
  ...['virtio_pci', 'virtio_net', 'virtio_console', 'xfrm_user', 'esp4', 'ah4', 'af_key', 'xfrm_interface'],
  ...['aesni-intel', 'ctr', 'gcm', 'ghash-generic', 'ccm', 'cbc', 'hmac', 'sha256_generic', 'sha512_generic', 'authenc', 'authencesn'],
  // seqiv wants a generator of random numbers of the kernel's own
  ...['chacha20poly1305', 'chacha_generic', 'poly1305_generic', 'echainiv', 'seqiv', 'drbg'],
];

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChildSaSeen, End, Exchanged, IkeSaSeen } from './end.ts';
import type { Guest } from './guest.ts';
import { addProgram, type Initramfs } from './initramfs.ts';
import type { Host } from './network.ts';
import { must } from './process.ts';
import type { Identity } from './profile.ts';

/** One release of libreswan, unpacked: it must not be installed beside strongSwan, which has files of the same names. */
export interface LibreswanRelease {
  readonly version: 4 | 5;
  /** Systems in folders in which its programs and libraries are looked for, in this order; `''` is this machine. */
  readonly systems: readonly string[];
}

/** Puts it into a guest's image with the keys of the identities, in an NSS database as `ipsec import` would make it. */
export async function addLibreswan(
  image: Initramfs,
  release: LibreswanRelease,
  folder: string,
  identities: readonly Identity[],
): Promise<void> {
  for (const program of PROGRAMS) await addProgram(image, release.systems, program);
  image.file('/etc/passwd', 'root:x:0:0::/root:/bin/sh\n').file('/etc/group', 'root:x:0:\n');
  await mkdir(folder, { recursive: true });
  const database = `sql:${folder}`;
  await must('certutil', ['-N', '--empty-password', '-d', database]);
  for (const identity of identities) {
    if (identity.auth === 'psk') continue;
    const bundle = join(folder, 'bundle.p12');
    const parts = ['-inkey', identity.key, '-in', identity.certificate, '-certfile', identity.authority];
    await must('openssl', ['pkcs12', '-export', ...parts, '-name', identity.id, '-out', bundle, '-passout', 'pass:x']);
    await must('pk12util', ['-i', bundle, '-d', database, '-W', 'x', '-K', '']);
    const nickname = `authority of ${identity.id}`;
    await must('certutil', ['-A', '-n', nickname, '-t', 'CT,,', '-d', database, '-a', '-i', identity.authority]);
  }
  image.copy(folder, NSS, 0o600);
}

export interface LibreswanConnection {
  readonly host: Host;
  readonly peer: Host;
  readonly identity: Identity;
  /** By its own keywords. */
  readonly ike: string;
  readonly esp: string;
  /** Added to the connection, or replacing what stands there. */
  readonly options?: Readonly<Record<string, string>>;
  /** Lines added to its secrets. */
  readonly secrets?: string;
}

/** libreswan in a guest, with ESP of the guest's kernel. It has at most one connection, called `net`. */
export class Libreswan implements End {
  readonly name: string;
  /** What it began and the other end deletes it brings back at once, even with `rekey=no`. */
  readonly revives: boolean;
  readonly #guest: Guest;

  private constructor(guest: Guest, { version }: LibreswanRelease) {
    this.#guest = guest;
    this.name = `libreswan ${version}`;
    this.revives = version >= 5;
  }

  static async start(guest: Guest, release: LibreswanRelease): Promise<Libreswan> {
    const pluto = new Libreswan(guest, release);
    await guest.must(`mkdir -p ${RUN} /etc`);
    await guest.write(CONFIGURATION, SETUP);
    await guest.write(SECRETS, '');
    const options = `--stderrlog --config ${CONFIGURATION} --secretsfile ${SECRETS} --nssdir ${NSS} --rundir ${RUN}`;
    await guest.must(`${LIBEXEC}/pluto --nofork ${options} > /dev/ttyS0 2>&1 &
      for try in $(seq 100); do ${WHACK} --globalstatus > /dev/null 2>&1 && exec ${WHACK} --listen; sleep 0.1; done; exit 1`);
    return pluto;
  }

  /** Takes this connection in the place of the one there was, whose SAs it deletes. */
  async configure(connection: LibreswanConnection): Promise<void> {
    const { identity, secrets = '' } = connection;
    await this.#guest.write(CONFIGURATION, `${SETUP}\n${conn(connection)}`);
    const secret = identity.auth === 'psk' ? `@${identity.id} @${identity.peerId} : PSK "${identity.secret}"\n` : '';
    await this.#guest.write(SECRETS, secret + secrets);
    await this.#whack('--delete --name net');
    await this.#must('--rereadsecrets');
    await this.#guest.must(`${LIBEXEC}/addconn --config ${CONFIGURATION} --ctlsocket ${RUN}/pluto.ctl net`);
  }

  async initiate(): Promise<void> {
    await this.#must('--initiate --name net');
  }

  async ikeSas(): Promise<readonly IkeSaSeen[]> {
    const listed = await this.#guest.must(`${WHACK} --showstates; ${WHACK} --trafficstatus`);
    const lines = listed.split('\n').map((line) => line.replace(/^\d{3} /, ''));
    const children = lines.flatMap((line) => childFrom(line, listed));
    return lines.flatMap((line) => {
      const [, serial] = /^#(\d+): "net".*\(established IKE SA\)/.exec(line) ?? [];
      if (serial === undefined) return [];
      // it lists states, and does not say which IKE SA a child is of; the tests have one
      return [{ id: serial, established: true, spiI: '', spiR: '', remoteId: '', children }];
    });
  }

  async rekeyChild(): Promise<void> {
    await this.#must(`${this.revives ? '--rekey-child' : '--rekey-ipsec'} --name net`);
  }

  async rekeyIke(): Promise<void> {
    await this.#must('--rekey-ike --name net');
  }

  async deleteChild(): Promise<void> {
    const [sa] = await this.ikeSas();
    // 4 has no other way than by its number; what 5 deletes that way it brings back at once, and otherwise it waits for the IKE SA
    await this.#must(this.revives ? '--down-child --name net --asynchronous' : `--deletestate ${sa!.children[0]!.id}`);
  }

  async deleteIke(): Promise<void> {
    await this.#must('--terminate --name net');
  }

  /** Keeps the ticket, drops the SA (RFC 5723). */
  async suspend(): Promise<void> {
    await this.#must('--suspend --name net');
  }

  async ping(to: string, count: number): Promise<number> {
    let answers = 0;
    const ping = `ping -q -c 1 -W 5 -I ${this.#guest.host.inside} ${to}`;
    for (let i = 0; i < count; i++) if ((await this.#guest.run(ping)).status === 0) answers++;
    return answers;
  }

  listen(): Promise<{ readonly done: Promise<Exchanged> }> {
    throw new Error('the guest has no program for TCP');
  }

  connect(): Promise<Exchanged> {
    throw new Error('the guest has no program for TCP');
  }

  log(): string {
    return `--- ${this.name}\n${this.#guest.log()}`;
  }

  /** SAs of the kernel. */
  async kernelSas(): Promise<number> {
    return Number(await this.#guest.must('/usr/sbin/ip xfrm state | grep -c ^src || true'));
  }

  /** whack ends with what the last line says: 0, or the number of a refusal. */
  async #must(options: string): Promise<string> {
    const { status, stdout } = await this.#whack(options);
    if (status !== 0) throw new Error(`whack ${options} ended with ${status}\n${stdout}\n${this.log()}`);
    return stdout;
  }

  #whack(options: string): ReturnType<Guest['run']> {
    return this.#guest.run(`${WHACK} ${options}`, 60);
  }
}

/** `#2: "net" esp.1a2b@10.9.0.1 esp.3c4d@10.9.0.2 …`, with what it sends with first; octets from `#2: "net", …, inBytes=84, outBytes=84`. */
function childFrom(line: string, listed: string): ChildSaSeen[] {
  const match = /^#(\d+): "net".* esp\.([0-9a-f]+)@\S+ esp\.([0-9a-f]+)@\S+/.exec(line);
  if (match === null) return [];
  const octets = (direction: string): number => Number(new RegExp(`#${match[1]}: "net",.*${direction}Bytes=(\\d+)`).exec(listed)?.[1] ?? 0);
  const [id, spiOut, spiIn] = [match[1]!, match[2]!.padStart(8, '0'), match[3]!.padStart(8, '0')];
  return [{ id, name: 'net', installed: true, spiIn, spiOut, octetsIn: octets('in'), octetsOut: octets('out') }];
}

function conn({ host, peer, identity, ike, esp, options = {} }: LibreswanConnection): string {
  const credentials =
    identity.auth === 'psk'
      ? { authby: 'secret' }
      : { leftcert: identity.id, leftsendcert: 'always', rightca: '%same', rightid: `@${identity.peerId}` };
  const values = {
    ikev2: 'insist',
    left: host.address,
    leftid: `@${identity.id}`,
    leftsubnet: host.network,
    right: peer.address,
    rightid: `@${identity.peerId}`,
    rightsubnet: peer.network,
    ...credentials,
    ike,
    esp,
    rekey: 'no',
    'retransmit-interval': '500',
    // the guest has one way out, and no resolver to set
    leftupdown: '%disabled',
    auto: 'ignore',
    ...options,
  };
  return `conn net\n${Object.entries(values)
    .map(([key, value]) => `  ${key}=${value}\n`)
    .join('')}`;
}

const SETUP = 'config setup\n  dnssec-enable=no\n';
const LIBEXEC = '/usr/libexec/ipsec';
const RUN = '/run/pluto';
const WHACK = `${LIBEXEC}/whack --rundir ${RUN}`;
const NSS = '/var/lib/ipsec/nss';
const CONFIGURATION = '/etc/ipsec.conf';
const SECRETS = '/etc/ipsec.secrets';
const NSS_MODULES = ['softokn3', 'freebl3', 'freeblpriv3'].map((name) => `/usr/lib/x86_64-linux-gnu/lib${name}.so`);
const PROGRAMS = [`${LIBEXEC}/pluto`, `${LIBEXEC}/whack`, `${LIBEXEC}/addconn`, ...NSS_MODULES];

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { End, Exchanged, IkeSaSeen } from './end.ts';
import type { Guest } from './guest.ts';
import { addProgram, type Initramfs } from './initramfs.ts';
import type { Host } from './network.ts';
import { eventually, PATIENCE } from './process.ts';
import type { Identity } from './profile.ts';

/** Puts OpenIKED into a guest's image with its one key and certificate. `systems` as for `addProgram`. */
export async function addOpeniked(image: Initramfs, systems: readonly string[], identity: Identity): Promise<void> {
  if (identity.auth === 'psk') throw new Error('OpenIKED does not start without a key, whatever it uses');
  for (const program of PROGRAMS) await addProgram(image, systems, program);
  image.file(PROVIDER, readFileSync(PROVIDER));
  image.file('/etc/passwd', 'root:x:0:0::/root:/bin/sh\n_iked:x:99:99::/var/empty:/bin/false\n');
  image.file('/etc/group', 'root:x:0:\n_iked:x:99:\n');
  for (const name of ['crls', 'pubkeys']) image.folder(`${ETC}/${name}`);
  image.file(`${ETC}/private/local.key`, readFileSync(identity.key), 0o600);
  image.file(`${ETC}/certs/${basename(identity.certificate)}`, readFileSync(identity.certificate));
  image.file(`${ETC}/ca/ca.crt`, readFileSync(identity.authority));
}

export interface OpenikedPolicy {
  readonly host: Host;
  readonly peer: Host;
  readonly identity: Identity;
  /** It begins, as soon as it starts. */
  readonly active: boolean;
  /** By its own keywords. On Linux it has no combined-mode cipher, no SHA-256 and no ESN for children, and drops them without a word. */
  readonly ike: string;
  readonly child: string;
  /** Seconds after which it rekeys either kind, since it takes no command for that. */
  readonly lifetimes?: { readonly ike: number; readonly child: number };
}

/** OpenIKED in a guest, with ESP of the guest's kernel over PF_KEY. One process for each policy. */
export class Openiked implements End {
  readonly name = 'OpenIKED';
  readonly #guest: Guest;
  #peerId = '';

  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /** Ends the process there was, and what the kernel has of it, and starts one with this policy. */
  async start(policy: OpenikedPolicy): Promise<void> {
    await this.stop();
    this.#peerId = policy.identity.peerId;
    await this.#guest.write('/etc/iked.conf', configuration(policy));
    await this.#guest.must(`iked -dvv -f /etc/iked.conf > ${LOG} 2>&1 & echo $! > ${PID}
      tail -f ${LOG} > /dev/ttyS0 2>&1 & echo $! >> ${PID}`);
    // it opens its sockets before it knows its settings, and answers by what it has
    await eventually(
      'OpenIKED is ready',
      async () => (await this.#guest.run(`grep -q 'config_getstatic: nattport' ${LOG}`)).status === 0,
      PATIENCE,
      () => this.log(),
    );
  }

  async stop(): Promise<void> {
    await this.#guest.run(`[ -f ${PID} ] && kill $(cat ${PID}) && sleep 1; rm -f ${PID}; ${IP} xfrm state flush; ${IP} xfrm policy flush`);
  }

  /** Only a process that starts with an active policy begins. */
  initiate(): Promise<void> {
    throw new Error('OpenIKED begins when it starts');
  }

  async ikeSas(): Promise<readonly IkeSaSeen[]> {
    return sasFrom(await this.#guest.must('ikectl show sa'));
  }

  rekeyChild(): Promise<void> {
    throw new Error('OpenIKED has no such command');
  }

  rekeyIke(): Promise<void> {
    throw new Error('OpenIKED has no such command');
  }

  deleteChild(): Promise<void> {
    throw new Error('OpenIKED has no such command');
  }

  async deleteIke(): Promise<void> {
    await this.#guest.must(`ikectl passive; ikectl reset id FQDN/${this.#peerId}`);
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
}

/** An IKE SA with its children behind it: `iked_sas: … rspi 0x… ispi 0x… ESTABLISHED …`, `sa_childsas: … ESP 0x… in …`. */
function sasFrom(listed: string): IkeSaSeen[] {
  // An IKE SA that it began and we rekeyed stays for two minutes: in that state it takes a Delete from an original initiator alone.
  const blocks = listed.split(/^(?=iked_)/m).filter((block) => block.startsWith('iked_sas: ') && !block.includes('] CLOSING '));
  return blocks.map((block) => {
    const [, rspi = '', ispi = '', id = '', state = ''] = /rspi 0x(\w+) ispi 0x(\w+) \S*<FQDN\/(\S+)>\S* (\w+)/.exec(block) ?? [];
    const spis = (way: string): string[] =>
      [...block.matchAll(new RegExp(`sa_childsas: \\S+ ESP 0x(\\w+) ${way} `, 'g'))].map((match) => match[1]!);
    const [incoming, outgoing] = [spis('in'), spis('out')];
    const children = incoming.map((spiIn, i) => ({
      id: spiIn,
      name: 'net',
      installed: true,
      spiIn,
      spiOut: outgoing[i] ?? '',
      octetsIn: 0,
      octetsOut: 0,
    }));
    return { id: ispi, established: state === 'ESTABLISHED', spiI: ispi, spiR: rspi, remoteId: id, children };
  });
}

function configuration({ host, peer, identity, active, ike, child, lifetimes }: OpenikedPolicy): string {
  const parts = [
    `ikev2 "net" ${active ? 'active' : 'passive'} esp from ${host.network} to ${peer.network}`,
    `local ${host.address} peer ${peer.address}`,
    `ikesa ${ike} childsa ${child}`,
    `srcid ${identity.id} dstid ${identity.peerId}`,
    lifetimes ? `ikelifetime ${lifetimes.ike} lifetime ${lifetimes.child}` : '',
    identity.auth === 'psk' ? `psk "${identity.secret}"` : '',
  ];
  return `set fragmentation\n${parts.join(' ')}\n`;
}

const LOG = '/tmp/iked.log';
const PID = '/run/iked.pid';
const IP = '/usr/sbin/ip';
const ETC = '/etc/iked';
/** OpenSSL loads it by this path. */
const PROVIDER = '/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so';
const PROGRAMS = ['/usr/sbin/iked', '/usr/sbin/ikectl'];

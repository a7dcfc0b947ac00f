import { concat, utf8 } from '../../../src/core/bytes/index.ts';
import { prf, systemRandom } from '../../../src/core/crypto/index.ts';
import type { Ask, AskResult, ChildSaSpec, Datagram, Effect, Notice } from '../../../src/core/ike/effects.ts';
import { type Connection, Endpoint, type EndpointOptions } from '../../../src/core/ike/index.ts';
import { childPolicy, connectionPolicy, DEFAULT_LIMITS, espProposal, fqdn, ikeProposal, subnet } from '../../../src/testing/policies.ts';

/** Two endpoints with nothing between them but a queue: the shortest way to run an exchange. */
export const LIMITS = DEFAULT_LIMITS;
export const IKE_PROPOSAL = ikeProposal('aes128gcm16-prfsha256-x25519-ecp256');
export const ESP_PROPOSAL = espProposal('aes128gcm16-esn-noesn-x25519');

export function connection(side: 'left' | 'right', changes: Partial<Connection> = {}): Connection {
  const other = side === 'left' ? 'right' : 'left';
  const [own, peer] = side === 'left' ? [1, 2] : [2, 1];
  return connectionPolicy({
    localAddresses: [`192.0.2.${own}`],
    remoteAddresses: [`192.0.2.${peer}`],
    proposals: [IKE_PROPOSAL],
    local: [{ auth: 'psk', id: fqdn(`${side}.lab`) }],
    remote: [{ auth: 'psk', id: { kind: 'exact', id: fqdn(`${other}.lab`) } }],
    children: [childPolicy({ proposals: [ESP_PROPOSAL], localTs: [subnet(`10.${own}.0.0/24`)], remoteTs: [subnet(`10.${peer}.0.0/24`)] })],
    sendCert: 'ifasked',
    sendCertreq: true,
    natKeepalive: 20_000,
    ...changes,
  });
}

export class End {
  readonly endpoint: Endpoint;
  readonly notices: Notice[] = [];
  readonly children = new Map<number, ChildSaSpec>();
  readonly sent: Datagram[] = [];
  psk = utf8('lab-psk-0123456789');
  answers: (ask: Ask) => AskResult | undefined = (ask) => this.answer(ask);

  constructor(options: Partial<EndpointOptions> & { connections: readonly Connection[] }) {
    this.endpoint = new Endpoint({ limits: LIMITS, random: systemRandom(), ...options });
  }

  answer(ask: Ask): AskResult {
    switch (ask.kind) {
      case 'authenticate': {
        const id = ask.auth.id!;
        return { ok: true, id, method: 2, data: this.mac(ask.prf, ask.octets(id)), certificates: [] };
      }
      case 'verify': {
        const good = concat(this.mac(ask.prf, ask.octets)).every((o, i) => o === ask.data[i]);
        const error = new (class extends Error {})('wrong PSK') as never;
        return good ? { ok: true, connection: ask.candidates[0]!.connection, description: 'psk' } : { ok: false, error };
      }
      case 'install':
        this.children.set(ask.spec.id, ask.spec);
        return { ok: true };
      case 'lease':
        return { ok: true, attributes: [{ type: 1, value: new Uint8Array([10, 66, 0, 5]) }], addresses: ['10.66.0.5'] };
      default:
        return { ok: true };
    }
  }

  mac(prfId: number, octets: Uint8Array): Uint8Array {
    const f = prf(prfId)!;
    return f.compute(f.compute(this.psk, utf8('Key Pad for IKEv2')), octets);
  }

  /** Performs every effect that waits; gives the datagrams that should go out. */
  drain(now: number): Datagram[] {
    const out: Datagram[] = [];
    for (let effect: Effect | undefined = this.endpoint.poll(); effect; effect = this.endpoint.poll()) {
      if (effect.kind === 'transmit') out.push(effect.datagram);
      else if (effect.kind === 'notice') this.notices.push(effect.notice);
      else if (effect.kind === 'child-remove') this.children.delete(effect.child);
      else if (effect.kind === 'ask') {
        const result = this.answers(effect.ask);
        if (result) this.endpoint.answer(effect.id, result, now);
      }
    }
    this.sent.push(...out);
    return out;
  }

  has<K extends Notice['kind']>(kind: K): Extract<Notice, { kind: K }>[] {
    return this.notices.filter((n): n is Extract<Notice, { kind: K }> => n.kind === kind);
  }
}

/** Delivers datagrams both ways until nothing moves. `filter` may drop or change one. */
export function settle(a: End, b: End, now = 0, filter: (d: Datagram, from: End) => Datagram | undefined = (d) => d): void {
  for (let round = 0; round < 200; round++) {
    const moved = [...carry(a, b, now, filter), ...carry(b, a, now, filter)];
    if (moved.length === 0) return;
  }
  throw new Error('the two ends never come to rest');
}

function carry(from: End, to: End, now: number, filter: (d: Datagram, from: End) => Datagram | undefined): Datagram[] {
  const out = from.drain(now);
  for (const datagram of out) {
    const kept = filter(datagram, from);
    if (kept) to.endpoint.receive({ local: kept.remote, remote: kept.local, data: kept.data.slice(), encap: kept.encap }, now);
  }
  return out;
}

export function established(changes: { left?: Partial<Connection>; right?: Partial<Connection> } = {}): { left: End; right: End } {
  const left = new End({ connections: [connection('left', changes.left)] });
  const right = new End({ connections: [connection('right', changes.right)] });
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  return { left, right };
}

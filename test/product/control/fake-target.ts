import { fromHex, parseIp, utf8 } from '../../../src/core/bytes/index.ts';
import type { Notice } from '../../../src/core/ike/effects.ts';
import type { Connection } from '../../../src/core/ike/policy.ts';
import type { IkeSaStatus } from '../../../src/host/engine/engine.ts';
import { compile, configFrom } from '../../../src/product/config/index.ts';
import type { ControlTarget, SaSelection, TransferTarget } from '../../../src/product/control/api.ts';

/** 2026-01-02T03:04:05Z; the monotonic clock stood at 1 000 000 ms then. */
export const WALL = Date.UTC(2026, 0, 2, 3, 4, 5);
export const NOW = 1_000_000;

export const connections: readonly Connection[] = compile(
  configFrom({
    secrets: { s: { kind: 'psk', secret_file: 'x' } },
    connections: {
      road: { local: { auth: 'psk', id: 'vpn.example.com' }, remote: { auth: 'psk' }, children: { net: {} } },
      branch: {
        remote_addrs: '198.51.100.1',
        local: { auth: 'psk', id: 'vpn.example.com' },
        remote: { auth: 'psk' },
        children: { net: {} },
        dpd_delay: '10s',
      },
    },
  }),
).connections;

export function ikeSa(changes: Partial<IkeSaStatus> = {}): IkeSaStatus {
  return {
    id: 12,
    connection: 'road',
    state: 'established',
    role: 'responder',
    spiI: fromHex('9a03d5574c1180fe'),
    spiR: fromHex('6f1c2a90e2b7d410'),
    local: { ip: '203.0.113.7', port: 4500 },
    remote: { ip: '192.0.2.9', port: 51004 },
    localId: { idType: 2, data: utf8('vpn.example.com') },
    remoteId: { idType: 3, data: utf8('alice@example.com') },
    localAuth: 'psk',
    remoteAuth: 'psk',
    natOurs: false,
    natTheirs: true,
    suite: 'aes256gcm16/prfsha384/x25519',
    fragmentation: true,
    crashTokens: { made: false, held: false },
    resumed: false,
    resumable: false,
    redirectable: false,
    redirectedFrom: undefined,
    establishedAt: NOW - 252_000,
    rekeyAt: NOW + 13_680_000,
    lastInbound: NOW - 11_000,
    assigned: ['10.66.0.5'],
    assignedToUs: false,
    children: [
      {
        id: 31,
        name: 'net',
        state: 'installed',
        protocol: 'ESP',
        mode: 'tunnel',
        inboundSpi: 0xc71fe402,
        outboundSpi: 0x0be2917a,
        suite: 'aes256gcm16/pfs x25519',
        localTs: [{ type: 7, protocol: 0, startPort: 0, endPort: 65535, start: parseIp('0.0.0.0'), end: parseIp('255.255.255.255') }],
        remoteTs: [{ type: 7, protocol: 0, startPort: 0, endPort: 65535, start: parseIp('10.66.0.5'), end: parseIp('10.66.0.5') }],
        establishedAt: NOW - 252_000,
        rekeyAt: NOW + 3_120_000,
        counters: {
          inbound: { packets: 13_902, bytes: 19_293_798, lastUse: NOW - 2000 },
          outbound: { packets: 601_220, bytes: 851_443_712, lastUse: NOW },
          drops: { replay: 3, integrity: 2 },
        },
      },
    ],
    ...changes,
  };
}

/** A running instance that does what a test says. */
export class FakeTarget implements ControlTarget {
  readonly name = 'home';
  readonly role = 'gateway';
  sas: IkeSaStatus[] = [ikeSa()];
  readonly calls: { what: string; request: unknown; signal: AbortSignal }[] = [];
  transfer: TransferTarget | undefined;
  behave: (what: string, request: unknown, signal: AbortSignal) => Promise<unknown> = async () => ({ ikeSas: 1, children: 1 });
  readonly #listeners = new Set<(event: { at: number; notice: Notice }) => void>();

  facts() {
    return { plane: 'netstack', listen: ['203.0.113.7:500', '203.0.113.7:4500'], startedAt: WALL - 3_600_000 };
  }
  connections() {
    return connections;
  }
  ikeSas() {
    return this.sas;
  }
  load() {
    return {
      ikeSas: this.sas.length,
      halfOpen: 3,
      children: 0,
      timers: 0,
      asks: 0,
      requests: 0,
      jobs: 0,
      fragmentOctets: 0,
      strangers: { cookies: 1200, puzzles: 0, refusals: 7, silenced: 2, unknown: 40 },
      workers: {
        workers: 2,
        waiting: { trusted: 1, reachable: 4, stranger: 9 },
        underWay: 4,
        done: 5310,
        refused: 6,
        cancelled: 5,
        crashes: 0,
      },
    };
  }
  now() {
    return { monotonic: NOW, wall: WALL };
  }
  onNotice(listener: (event: { at: number; notice: Notice }) => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
  get listeners(): number {
    return this.#listeners.size;
  }
  notice(notice: Notice, at = WALL): void {
    for (const listener of this.#listeners) listener({ at, notice });
  }
  up(request: { connection: string }, signal: AbortSignal) {
    return this.#call('up', request, signal) as ReturnType<ControlTarget['up']>;
  }
  down(request: SaSelection, signal: AbortSignal) {
    return this.#call('down', request, signal) as ReturnType<ControlTarget['down']>;
  }
  rekey(request: SaSelection, signal: AbortSignal) {
    return this.#call('rekey', request, signal) as ReturnType<ControlTarget['rekey']>;
  }
  redirect(request: SaSelection & { readonly to: string }, signal: AbortSignal) {
    return this.#call('redirect', request, signal) as ReturnType<ControlTarget['redirect']>;
  }
  #call(what: string, request: unknown, signal: AbortSignal): Promise<unknown> {
    this.calls.push({ what, request, signal });
    return this.behave(what, request, signal);
  }
}

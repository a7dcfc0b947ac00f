import type { Host } from '../../interop/support/network.ts';
import { Daemon, eventually, run } from '../../interop/support/process.ts';
import { Scope } from '../../interop/support/scope.ts';

export interface TcpResult {
  readonly octets: number;
  /** By the size of a full segment. */
  readonly packets: number;
  readonly seconds: number;
  readonly retransmits: number;
}

/** iperf3 on both hosts. The server stays. */
export class TcpFlow {
  readonly #client: Host;
  readonly #server: Host;

  private constructor(client: Host, server: Host) {
    this.#client = client;
    this.#server = server;
  }

  static async start(scope: Scope, client: Host, server: Host): Promise<TcpFlow> {
    const command = ['netns', 'exec', server.namespace, 'iperf3', '-s', '-p', PORT, '-B', server.inside];
    const daemon = new Daemon(scope, 'iperf3', 'ip', command);
    const listens = ['netns', 'exec', server.namespace, 'ss', '-Hltn', `sport = :${PORT}`];
    await eventually(
      'iperf3 listens',
      async () => (await run('ip', listens)).stdout !== '',
      20_000,
      () => daemon.output,
    );
    return new TcpFlow(client, server);
  }

  async measure(direction: 'forward' | 'reverse', streams: number, seconds: number): Promise<TcpResult> {
    const scope = new Scope();
    const words = ['-c', this.#server.inside, '-B', this.#client.inside, '-p', PORT, '-P', `${streams}`, '-t', `${seconds}`];
    const command = ['netns', 'exec', this.#client.namespace, 'iperf3', ...words, '-i', '0', '-J', '--connect-timeout', '5000'];
    try {
      const client = new Daemon(scope, 'iperf3', 'ip', direction === 'reverse' ? [...command, '-R'] : command);
      await eventually(
        'iperf3 is done',
        () => !client.running,
        (seconds + 30) * 1000,
        () => client.output,
      );
      return resultFrom(client.output);
    } finally {
      await scope.close();
    }
  }
}

function resultFrom(output: string): TcpResult {
  const report = JSON.parse(output) as Report;
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  const { bytes: octets, seconds } = report.end.sum_received;
  return { octets, seconds, packets: octets / report.start.tcp_mss_default, retransmits: report.end.sum_sent.retransmits ?? 0 };
}

interface Report {
  readonly error?: string;
  readonly start: { readonly tcp_mss_default: number };
  readonly end: {
    readonly sum_sent: { readonly retransmits?: number };
    readonly sum_received: { readonly bytes: number; readonly seconds: number };
  };
}

const PORT = '5201';

import { formatAddress } from '../../core/bytes/index.ts';
import type { Paint, Terminal } from '../context.ts';
import type { DemoEvent, DemoResult } from '../demo/demo.ts';
import type { SpiCount } from '../spi-ledger.ts';
import { ProgressBar } from './progress.ts';
import { renderSas } from './sas.ts';
import { Steps } from './steps.ts';
import { flow, padEnd, table, wrap } from './text.ts';
import { formatBytes, formatCount, formatLatency } from './units.ts';

/** Tells the demo while it runs: what is set up, each step of the handshake, the bar, and where keys changed. */
export class DemoView {
  readonly #terminal: Terminal;
  readonly #paint: Paint;
  readonly #steps: Steps;
  readonly #bar: ProgressBar;
  #share = 0;

  constructor(terminal: Terminal, paint: Paint) {
    this.#terminal = terminal;
    this.#paint = paint;
    this.#steps = new Steps(paint, terminal.columns);
    this.#bar = new ProgressBar(terminal, paint);
  }

  begin(): void {
    const what = 'a gateway and a client in two processes, real UDP on loopback, a NAT between them';
    this.#line(`${wrap(`${this.#paint.bold('tunnelwright demo')}   ${what}`, this.#terminal.columns, '  ')}\n`);
  }

  take(event: DemoEvent): void {
    switch (event.kind) {
      case 'workspace':
        this.#done('CA', 'throw-away, ECDSA P-256, for one day; certificates for gateway.demo and client@demo');
        return this.#done('file', `${event.file.name}   ${formatBytes(event.file.size)}`);
      case 'gateway':
        return this.#done('gateway', `process ${event.pid}   UDP 127.0.0.1:${event.ike} (IKE) and :${event.nat} (IKE and ESP behind NAT)`);
      case 'nat':
        return this.#done('NAT', `${event.fronts.map(formatAddress).join(' and ')}, a new source port towards the gateway`);
      case 'client':
        return this.#done('client', `process ${event.pid}`);
      case 'event':
        return this.#event(event.event);
      case 'up':
        return this.#line(this.#steps.up(event.ikeSa, event.took, 'netstack'));
      case 'progress':
        this.#share = event.progress.total > 0 ? event.progress.bytes / event.progress.total : 0;
        return this.#bar.show(event.progress);
    }
  }

  result(result: DemoResult): void {
    const { client, gateway, sha256, checks } = result;
    const seconds = client.took / 1000;
    const { columns } = this.#terminal;
    const blocks = [
      '',
      renderSas([client.sas], this.#paint, this.#terminal.columns).trimEnd(),
      '',
      'What each SPI carried (inner packets)',
      ...spiTable(client.spis, gateway.spis).map((line) => `  ${line}`),
      '',
      wrap(
        `${formatBytes(client.bytes)} in ${formatLatency(client.took)}: ${formatBytes(client.bytes / Math.max(seconds, 0.001))}/s through ESP, ${formatCount(result.relayed)} datagrams through the NAT`,
        columns,
        '  ',
      ),
      flow(['  SHA-256 at the client ', sha256.sent], columns, '    '),
      flow(['  SHA-256 at the gateway', sha256.received], columns, '    '),
      '',
      ...checks.map(({ what, held }) => `  ${held ? this.#paint.green('✓') : this.#paint.red('✗')} ${wrap(what, columns - 4, '    ')}`),
    ];
    this.#line(blocks.join('\n'));
  }

  /** Before an error is told. */
  leave(): void {
    this.#bar.leave();
  }

  #event(event: Parameters<Steps['take']>[0]): void {
    const during = `at ${Math.round(this.#share * 100)} % of the file`;
    if (event.event === 'child-rekeyed') return this.#remark(`CHILD_SA rekeyed ${during}: new keys and SPIs, traffic went over`);
    if (event.event === 'ike-rekeyed') return this.#remark(`IKE SA rekeyed ${during}: new SPIs and keys, the CHILD_SA moved along`);
    // the exchanges that rekey are told by what they brought about
    if (this.#share > 0 && event.event === 'exchange') return;
    const text = this.#steps.take(event);
    if (text !== undefined) this.#line(text);
  }

  #remark(sentence: string): void {
    this.#line(`  ${this.#paint.cyan('↻')} ${wrap(sentence, this.#terminal.columns - 4, '    ')}`);
  }

  #done(what: string, sentence: string): void {
    this.#line(`  ${this.#paint.green('✓')} ${padEnd(what, 8)}  ${wrap(sentence, this.#terminal.columns - 14, ' '.repeat(14))}`);
  }

  #line(text: string): void {
    this.#bar.above(`${text}\n`);
  }
}

/** A row for each SA, sender and receiver side by side: what was sent on it, what of it arrived. */
function spiTable(client: readonly SpiCount[], gateway: readonly SpiCount[]): string[] {
  const rows = client.map((own) => {
    const other = gateway.find((g) => g.spi === own.spi && g.direction !== own.direction);
    const [sent, received] = own.direction === 'out' ? [own, other] : [other, own];
    return [
      own.spi.toString(16).padStart(8, '0'),
      own.direction === 'out' ? 'client → gateway' : 'gateway → client',
      sent === undefined ? '?' : `${formatCount(sent.packets)} pkt`,
      sent === undefined ? '?' : formatBytes(sent.bytes),
      received === undefined ? '?' : `${formatCount(received.packets)} pkt`,
      received === undefined ? '?' : formatBytes(received.bytes),
    ];
  });
  return table([['SPI', 'direction', 'sent', '', 'received', ''], ...rows], { right: [2, 3, 4, 5] });
}

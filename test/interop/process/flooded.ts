// A gateway that is going to be flooded. The first line of its input is its configuration; each further line asks how it is.
// It says {"ike", "nat"} when it listens, then for each question what `load` says, its memory and what it received.
import process from 'node:process';
import { createInterface } from 'node:readline';
import { compile, configFrom, createGateway } from 'tunnelwright';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { value } = await lines.next();
const gateway = await createGateway({ config: compile(configFrom(JSON.parse(value as string))) });
await gateway.listen();
say({ ike: gateway.sockets[0]?.ike?.port, nat: gateway.sockets[0]?.nat.port });
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  globalThis.gc?.();
  const { datagrams, drops } = gateway.engine.counters.snapshot();
  say({
    load: gateway.load(),
    rss: process.memoryUsage.rss(),
    cpu: process.cpuUsage(),
    received: datagrams['ike in'] ?? 0,
    shed: datagrams['ike in, shed unread'] ?? 0,
    drops,
  });
}
process.exit(0);

function say(answer: object): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

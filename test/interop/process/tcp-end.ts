// One end of a TCP connection: octets both ways at once, then a line of JSON with the digests.
//   tcp-end listen ADDRESS PORT OCTETS
//   tcp-end connect ADDRESS PORT OCTETS FROM
import { connect, createServer, type Socket } from 'node:net';
import process from 'node:process';
import { exchangeOctets } from './octets.ts';

const [role, address = '', port = '0', octets = '0', from] = process.argv.slice(2);

if (role === 'listen') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    server.close();
    void work(socket, 0x5eed);
  });
  server.listen(Number(port), address, () => say({ listening: Number(port) }));
} else {
  const socket = connect(
    { host: address, port: Number(port), allowHalfOpen: true, ...(from ? { localAddress: from } : {}) },
    () => void work(socket, 0xfeed),
  );
  socket.on('error', fail);
}

async function work(socket: Socket, seed: number): Promise<void> {
  socket.on('error', fail);
  try {
    say(await exchangeOctets(socket, Number(octets), seed));
  } catch (error) {
    fail(error as Error);
  }
}

function fail(error: Error): void {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

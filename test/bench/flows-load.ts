// node flows-load.js receive PORT | send PORT
// Many TCP connections at once, each between a pair of addresses of its own: from 10.1.4.0 on to 10.2.4.0 on.
import { connect, createServer, type Socket } from 'node:net';
import { answering } from '../interop/support/dialogue.ts';

/** To the sender: so many connections that are never idle; 0 ends them. */
export interface Flows {
  readonly flows: number;
}

/** Of the receiver, since it began. */
export interface Received {
  readonly octets: number;
}

const [role, port = '0'] = process.argv.slice(2);
if (role === 'send') send();
else receive();

function receive(): void {
  let octets = 0;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      octets += data.length;
    });
  });
  server.listen({ port: Number(port), host: '0.0.0.0', backlog: 4096 }, () => answering((_: object): Received => ({ octets })));
}

function send(): void {
  const block = Buffer.alloc(65_536, 7);
  let sockets: Socket[] = [];
  const fill = (socket: Socket): void => {
    while (!socket.destroyed && socket.write(block));
  };
  answering(async ({ flows }: Flows): Promise<Flows> => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
    for (let i = 0; i < flows; i++) sockets.push(await connected(i));
    for (const socket of sockets) {
      socket.on('drain', () => fill(socket));
      fill(socket);
    }
    return { flows: sockets.length };
  });
}

function connected(i: number): Promise<Socket> {
  const behind = `${4 + (i >> 8)}.${i & 255}`;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: `10.2.${behind}`, port: Number(port), localAddress: `10.1.${behind}` });
    socket.once('connect', () => {
      socket.off('error', reject).on('error', () => {});
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

// A gateway that asks others: who may come in, which address, and who pays. gateway.ts CONFIG
import { readFile } from 'node:fs/promises';
import { compile, createGateway, loadConfig } from 'tunnelwright';

const [file = 'road-warrior-gateway.yaml'] = process.argv.slice(2);
// stands for a directory, which would be asked over the network
const directory = new Map([
  ['alice@example.com', { address: '10.66.0.77' }],
  ['bob@example.com', {}],
]);
const names = new TextDecoder();

const gateway = await createGateway({
  config: compile(loadConfig(await readFile(file, 'utf8'), { file })),
  authorise: async ({ remoteId }) => (directory.has(names.decode(remoteId.data)) ? undefined : 'not in the directory'),
  chooseAddress: async ({ remoteId }) => directory.get(names.decode(remoteId.data))?.address,
  account: ({ kind, session, addresses, children, reason }) => {
    const octets = children.reduce((sum, { octetsIn, octetsOut }) => sum + octetsIn + octetsOut, 0);
    console.log([kind, session, addresses.join(' '), octets, reason].join(' ').trim());
  },
});
gateway.listenTcp(80, (socket) => {
  socket.on('error', () => undefined);
  socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\nhello from the gateway'));
});
await gateway.listen();
process.once('SIGTERM', () => void gateway.close());

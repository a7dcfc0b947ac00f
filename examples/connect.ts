// A TCP connection through a tunnel, in a process of an ordinary user: connect.ts CONFIG HOST PORT
import { readFile } from 'node:fs/promises';
import { compile, connect, loadConfig } from 'tunnelwright';

const [file = 'psk-client.yaml', host = '10.66.0.1', port = '80'] = process.argv.slice(2);
const tunnel = await connect({ config: compile(loadConfig(await readFile(file, 'utf8'), { file })) });
const socket = await tunnel.connect({ host, port: Number(port) });
socket.write('GET / HTTP/1.0\r\n\r\n');
for await (const chunk of socket) process.stdout.write(chunk);
await tunnel.close();

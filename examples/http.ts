// The same URL twice, its name resolved behind the tunnel: http.ts CONFIG URL
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { text } from 'node:stream/consumers';
import { compile, connect, loadConfig } from 'tunnelwright';

const [file = 'psk-client.yaml', url = 'http://intranet.example/'] = process.argv.slice(2);
const tunnel = await connect({ config: compile(loadConfig(await readFile(file, 'utf8'), { file })) });

// as `fetch` of the platform, redirects and encodings included
console.log(await (await tunnel.fetch(url)).text());

// whatever takes an agent of node:http
const [response] = await once(get(url, { agent: tunnel.agent }), 'response');
console.log(await text(response));

const { hostname } = new URL(url);
console.log(`${hostname} is ${await tunnel.resolve(hostname)}`);
await tunnel.close();

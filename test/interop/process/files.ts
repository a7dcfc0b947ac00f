// node files.js ADDRESS PORT FOLDER
// A web server with the files of one folder; every path that it is asked for is a line of its output.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';

const [address = '', port = '', folder = ''] = process.argv.slice(2);
createServer(async ({ url = '' }, response) => {
  process.stdout.write(`${url}\n`);
  try {
    response.end(await readFile(join(folder, basename(url))));
  } catch {
    response.writeHead(404).end();
  }
}).listen(Number(port), address, () => process.stdout.write('ready\n'));

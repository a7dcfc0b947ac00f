import { expect } from 'vitest';
import { PeerHttp } from '../../../src/product/transfer/peer-http.ts';
import { type Scene, TestTiming } from './scene.ts';

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A client that speaks plain tus 1.0, knowing nothing of ours. */
export function tus(scene: Scene, peer = 'alice', plan: Parameters<Scene['wire']>[0] = {}) {
  const http = new PeerHttp({ connect: scene.wire(plan, peer).connect, host: 'gw', idleTimeout: 10_000, timing: new TestTiming() });
  const ask = async (method: string, target: string, headers: Record<string, string> = {}, body?: Uint8Array) => {
    const response = await http.request(method, target, {
      headers: { 'Tus-Resumable': '1.0.0', ...headers },
      ...(body && {
        body: (async function* () {
          yield body;
        })(),
        length: body.length,
      }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text };
  };
  const create = async (name: string, length: number, more = ''): Promise<string> => {
    const made = await ask('POST', '/inbox/', { 'Upload-Length': String(length), 'Upload-Metadata': `filename ${base64(name)}${more}` });
    expect(made.status).toBe(201);
    return made.headers.location!;
  };
  const patch = (location: string, offset: number, body: Uint8Array, headers: Record<string, string> = {}) =>
    ask('PATCH', location, { 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream', ...headers }, body);
  return { ask, create, patch, close: () => http.close() };
}

import { get } from 'node:http';
import { DataPlaneError, TimedOut, TunnelwrightError } from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';

/**
 * What lies at an http URL. No redirection is followed.
 * @param within milliseconds for all of it
 * @param limit octets of the answer's body
 * @throws TimedOut `HTTP_SILENT`; DataPlaneError `HTTP_FAILED` where there is no answer, none with status 200, or a longer one
 */
export type HttpGet = (url: string, bounds: { readonly within: Millis; readonly limit: number }) => Promise<Uint8Array>;

export const httpGet: HttpGet = (url, { within, limit }) =>
  new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(within);
    const refuse = (error: unknown): void => reject(signal.aborted ? silent(url, within) : failed(url, error));
    const request = get(url, { agent: false, signal }, (response) => {
      const { statusCode } = response;
      const chunks: Uint8Array[] = [];
      let octets = 0;
      response.on('error', refuse);
      response.on('data', (chunk: Uint8Array) => {
        octets += chunk.length;
        if (octets > limit) response.destroy(failed(url, `the answer is longer than ${limit} octets`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(new Uint8Array(Buffer.concat(chunks))));
      if (statusCode !== 200) response.destroy(failed(url, `the server answers with status ${statusCode}`));
    });
    request.on('error', refuse);
  });

function silent(url: string, within: Millis): TimedOut {
  return new TimedOut(`${url} gave no whole answer within ${within / 1000} s`, {
    code: 'HTTP_SILENT',
    hint: 'See whether the server runs, and whether it can be reached from here, outside of the tunnel.',
  });
}

function failed(url: string, cause: unknown): TunnelwrightError {
  if (cause instanceof TunnelwrightError) return cause;
  return new DataPlaneError(`${url} was not fetched: ${cause instanceof Error ? cause.message : String(cause)}`, {
    code: 'HTTP_FAILED',
    hint: 'Fetch it by hand from this machine, for instance with curl.',
  });
}

import type { Duplex } from 'node:stream';
import { MalformedMessage, Reader } from '../../core/bytes/index.ts';
import { ConnectionLost } from '../transfer/peer-http.ts';
import { protocolError } from './errors.ts';
import { PacketBuilder, PacketCutter } from './packets.ts';
import { LARGEST_PACKET } from './protocol.ts';

/** What the server says to one request, behind its id. */
export interface Answer {
  readonly type: number;
  readonly reader: Reader;
}

export class Request extends PacketBuilder {
  readonly id: number;

  constructor(type: number, id: number) {
    super(type, id);
    this.id = id;
  }
}

/**
 * Requests and their answers on a channel, many under way at a time and answered in any order. Whoever breaks the protocol once is not asked
 * again.
 */
export class RequestChannel {
  readonly #channel: Duplex;
  readonly #cutter = new PacketCutter(LARGEST_PACKET);
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #ended: Error | undefined;
  /** VERSION came, the only packet without an id. */
  #begun = false;

  constructor(channel: Duplex) {
    this.#channel = channel;
    channel.on('data', (chunk: Uint8Array) => this.#take(chunk));
    channel.on('error', (cause) => this.end(new ConnectionLost(cause.message, cause)));
    channel.once('end', () => this.end(new ConnectionLost('the server ended it')));
    channel.once('close', () => this.end(new ConnectionLost('it was closed')));
  }

  /** Nothing more can be asked here. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  nextId(): number {
    this.#lastId = (this.#lastId + 1) >>> 0 || 1;
    return this.#lastId;
  }

  request(type: number): Request {
    return new Request(type, this.nextId());
  }

  ask(request: Request): Promise<Answer> {
    return this.send(request.id, request.finish());
  }

  send(id: number, packet: Uint8Array): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      this.#waiting.set(id, { resolve, reject });
      this.#channel.write(packet);
    });
  }

  /** Reads an answer. @throws TransferError for one that cannot be read */
  parse<T>(parse: () => T): T {
    try {
      return parse();
    } catch (cause) {
      throw cause instanceof MalformedMessage ? this.violation(cause.message) : cause;
    }
  }

  /** Ends it for what the server has done. @returns what to throw */
  violation(why: string): Error {
    const error = protocolError(why);
    this.end(error);
    return error;
  }

  /** Whatever is under way fails with this. */
  end(cause: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = cause;
    for (const { reject } of this.#waiting.values()) reject(cause);
    this.#waiting.clear();
    this.#channel.destroy();
  }

  #take(chunk: Uint8Array): void {
    try {
      for (const packet of this.#cutter.cut(chunk)) {
        if (this.#ended !== undefined) return;
        this.#answered(new Reader(packet));
      }
    } catch (cause) {
      this.end(cause instanceof MalformedMessage ? protocolError(cause.message, cause) : (cause as Error));
    }
  }

  #answered(reader: Reader): void {
    const type = reader.u8('type');
    const id = this.#begun ? reader.u32('id') : VERSION_ID;
    this.#begun = true;
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) throw protocolError('it answered what nobody asked');
    this.#waiting.delete(id);
    waiting.resolve({ type, reader });
  }
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(cause: Error): void;
}

/** Under which the answer to INIT is waited for. No request has it: ids begin at 1. */
export const VERSION_ID = 0;

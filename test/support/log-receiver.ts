import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { startHttpStandIn, type HttpStandInOptions } from './http-stand-in.ts';

/** What goes wrong with one request. */
export type ReceiverFault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** Takes the request and never answers. */
  | { readonly kind: 'hang' }
  /** Closes the connection before it has read the body, after it, or in the middle of its answer. */
  | { readonly kind: 'reset'; readonly when: 'at_once' | 'after_body' | 'in_answer' };

/** A server that takes logs by POST as gzipped JSON, and finds fault with everything that is not as documented. */
export interface LogReceiver extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Ids of decisions in the order in which they were taken. */
  readonly ids: string[];
  /** Bodies that were answered with success. */
  readonly taken: {
    readonly value: unknown;
    readonly compressedBytes: number;
    readonly authorization: string | undefined;
  }[];
  /** What was wrong with requests. */
  readonly faultsFound: string[];
  /** For the next requests, one each; `always` for all until it is unset. */
  readonly next: ReceiverFault[];
  always: ReceiverFault | undefined;
  /** Refuses bodies, as a server with a limit, or with something against a record. */
  refuse: ((body: Uint8Array, value: unknown) => number | undefined) | undefined;
  requests: number;
}

export interface LogReceiverOptions {
  readonly tls?: HttpStandInOptions['tls'];
  /** Throws for a body that is not as documented; gives the ids in it. */
  readonly check: (value: unknown) => readonly string[];
  /** The answer to a body that was taken. */
  readonly answer?: (value: unknown) => unknown;
}

export async function startLogReceiver(options: LogReceiverOptions): Promise<LogReceiver> {
  const { tls, check, answer } = options;
  const standIn = await startHttpStandIn({
    ...(tls === undefined ? {} : { tls }),
    answer: (request, response) => void take(request, response),
  });
  const receiver: LogReceiver = {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${standIn.port}/logs`,
    port: standIn.port,
    ids: [],
    taken: [],
    faultsFound: [],
    next: [],
    always: undefined,
    refuse: undefined,
    requests: 0,
    [Symbol.asyncDispose]: () => standIn[Symbol.asyncDispose](),
  };

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    receiver.requests += 1;
    const fault = receiver.always ?? receiver.next.shift();
    if (fault?.kind === 'reset' && fault.when === 'at_once') return void request.socket.destroy();
    const body = await buffer(request).catch(() => undefined);
    if (body === undefined || fault?.kind === 'hang') return;
    if (fault?.kind === 'status') return void response.writeHead(fault.status, fault.headers).end('no');
    if (fault?.when === 'after_body') return void request.socket.destroy();
    try {
      const value = parse(request, body);
      const ids = check(value);
      const refusal = receiver.refuse?.(body, value);
      if (refusal !== undefined) return void response.writeHead(refusal).end();
      receiver.ids.push(...ids);
      receiver.taken.push({ value, compressedBytes: body.length, authorization: request.headers.authorization });
      if (fault?.when === 'in_answer') {
        response.writeHead(200, { 'content-length': '100' }).write('{');
        return void setImmediate(() => request.socket.destroy());
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer?.(value) ?? {}));
    } catch (error) {
      receiver.faultsFound.push(error instanceof Error ? error.message : 'unknown');
      response.writeHead(400).end();
    }
  }
  return receiver;
}

function parse(request: IncomingMessage, body: Uint8Array): unknown {
  assert.equal(request.method, 'POST');
  assert.equal(request.headers['content-type'], 'application/json');
  assert.equal(request.headers['content-encoding'], 'gzip');
  assert.equal(request.headers['content-length'], String(body.length));
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(gunzipSync(body)));
}

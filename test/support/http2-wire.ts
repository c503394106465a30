import { once } from 'node:events';
import http2 from 'node:http2';
import { duplexPair, type Duplex } from 'node:stream';
import { encodeBlock } from '../../src/transport/any-authority/encode-block.ts';
import { PREFACE, writeHeaderFrames } from '../../src/transport/any-authority/frames.ts';
import type { HeaderField } from '../../src/transport/any-authority/header-table.ts';

/** A request as Node's HTTP/2 server saw it: names and values in the order of the wire. */
export type SeenRequest = readonly (readonly [name: string, value: string])[];

/** A real Node HTTP/2 session in memory that notes its requests and answers each with 200. */
export interface Http2Sink extends Disposable {
  /** To write what a client sends, and to read what the server sends. */
  readonly wire: Duplex;
  readonly seen: SeenRequest[];
  /** The error codes of streams and of the connection. */
  readonly failures: string[];
}

export function openSink(): Http2Sink {
  const [wire, serverSide] = duplexPair();
  const session = http2.performServerHandshake(serverSide);
  const seen: SeenRequest[] = [];
  const failures: string[] = [];
  session.on('stream', (stream, _headers, _flags, raw: readonly string[]) => {
    seen.push(pairsOf(raw));
    stream.on('error', (error) => failures.push(error.message));
    stream.resume();
    if (!stream.destroyed && !stream.closed) stream.respond({ ':status': 200 }, { endStream: true });
  });
  session.on('error', (error) => failures.push(error.message));
  wire.on('error', () => undefined);
  serverSide.on('error', () => undefined);
  return {
    wire,
    seen,
    failures,
    [Symbol.dispose]: () => {
      session.destroy();
      wire.destroy();
      serverSide.destroy();
    },
  };
}

function pairsOf(raw: readonly string[]): SeenRequest {
  return Array.from(
    { length: raw.length / 2 },
    (_, index) => [raw[2 * index] ?? '', raw[2 * index + 1] ?? ''] as const,
  );
}

/** The fields of a request in the order given; without an authority unless `more` has one. */
export function requestFields(more: readonly HeaderField[]): readonly HeaderField[] {
  return [
    { name: ':method', value: 'POST' },
    { name: ':scheme', value: 'http' },
    { name: ':path', value: '/' },
    ...more,
  ];
}

const EMPTY_SETTINGS = Buffer.from('000000040000000000', 'hex');

/** Preface, settings and one request for each list of fields, as bytes. */
export function requestsOnWire(requests: readonly (readonly HeaderField[])[]): Buffer {
  const frames = requests.flatMap((fields, index) =>
    writeHeaderFrames({ flags: 1, streamId: 2 * index + 1 }, Buffer.alloc(0), encodeBlock(fields)),
  );
  return Buffer.concat([PREFACE, EMPTY_SETTINGS, ...frames]);
}

/** Lets a session that lives in memory work off what was written to it. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** What a real Node client sends for these requests, one after the other, on one connection. */
export async function recordClient(requests: readonly http2.OutgoingHttpHeaders[]): Promise<Buffer> {
  const [clientSide, wire] = duplexPair();
  const chunks: Buffer[] = [];
  wire.on('data', (chunk: Buffer) => chunks.push(chunk));
  const session = http2.connect('http://svidgate', { createConnection: () => clientSide });
  session.on('error', () => undefined);
  await once(session, 'connect');
  for (const headers of requests) {
    const stream = session.request(headers, { endStream: true });
    stream.on('error', () => undefined);
    await settle();
  }
  session.destroy();
  clientSide.destroy();
  wire.destroy();
  return Buffer.concat(chunks);
}

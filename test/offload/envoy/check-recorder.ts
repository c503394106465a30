/** A gate that allows everything and remembers what it was asked. */
import { once } from 'node:events';
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { CheckRequest, CheckResponse, decodeMessage, encodeMessage } from '../../../src/proto/index.ts';

export interface CheckRecorder extends AsyncDisposable {
  readonly port: number;
  /** What was asked about the request with this `x-id`, once; also bytes that are no message. */
  take(id: string): CheckRequest | 'unreadable' | undefined;
}

const FRAME_HEADER = 5;

export async function startCheckRecorder(address: string): Promise<CheckRecorder> {
  const seen = new Map<string, CheckRequest | 'unreadable'>();
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream) => void answer(stream, seen));
  server.listen(0, address);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    take(id) {
      const found = seen.get(id);
      seen.delete(id);
      return found;
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function answer(stream: ServerHttp2Stream, seen: Map<string, CheckRequest | 'unreadable'>): Promise<void> {
  stream.on('error', () => undefined);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks).subarray(FRAME_HEADER);
  try {
    const check = decodeMessage(CheckRequest, bytes, 1e7);
    seen.set(check.attributes?.request?.http?.headers['x-id'] ?? '', check);
  } catch {
    seen.set(/x-id[^\d]{2}(\d+)/s.exec(bytes.toString('latin1'))?.[1] ?? '', 'unreadable');
  }
  const message = encodeMessage(CheckResponse, { status: { code: 0 }, okResponse: {} });
  const frame = Buffer.alloc(FRAME_HEADER);
  frame.writeUInt32BE(message.length, 1);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.concat([frame, message]));
}

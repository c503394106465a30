/** Clients that write what they are told, byte for byte. */
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ClientCertificate } from './certificates.ts';
import type { WireRequest } from './requests.ts';

export interface Target {
  readonly address: string;
  readonly port: number;
  /** Absent: no TLS. */
  readonly tls?: { readonly client?: ClientCertificate; readonly serverName: string };
}

/** Undefined: the connection or the stream was ended without an answer. */
export type WireAnswer = { readonly status: number; readonly headers: ReadonlyMap<string, string> } | undefined;

export interface WireClient extends Disposable {
  send(request: WireRequest): Promise<WireAnswer>;
}

const LIMIT_MS = 20_000;

async function openSocket({ address, port, tls }: Target, protocol: string): Promise<Socket> {
  if (tls === undefined) {
    const socket = connectTcp({ host: address, port, noDelay: true });
    await once(socket, 'connect');
    return socket;
  }
  const { client, serverName } = tls;
  const socket = connectTls({
    host: address,
    port,
    ALPNProtocols: [protocol],
    rejectUnauthorized: false,
    ...(serverName === '' ? {} : { servername: serverName }),
    ...(client === undefined ? {} : { cert: client.cert, key: client.key }),
  });
  await once(socket, 'secureConnect');
  return socket;
}

/** One request after the other on one connection, which is made anew where Envoy ends it. */
export function http1Client(target: Target): WireClient {
  let socket: Socket | undefined;
  return {
    async send(request) {
      if (socket === undefined || socket.destroyed || !socket.writable) {
        socket = await openSocket(target, 'http/1.1');
        socket.on('error', () => undefined);
      }
      const { method, path, authority, headers } = request;
      const lines = [
        `${method} ${path} HTTP/1.1`,
        `host: ${authority}`,
        ...headers.map(([name, value]) => `${name}: ${value}`),
      ];
      socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
      return await readAnswer(socket, method === 'HEAD');
    },
    [Symbol.dispose]: () => socket?.destroy(),
  };
}

function readAnswer(socket: Socket, hasNoBody: boolean): Promise<WireAnswer> {
  const { promise, resolve } = Promise.withResolvers<WireAnswer>();
  let text = '';
  const finish = (answer: WireAnswer): void => {
    socket.off('data', onData).off('close', onEnd).off('end', onEnd);
    clearTimeout(timer);
    if (answer === undefined || answer.headers.get('connection') === 'close') socket.destroy();
    resolve(answer);
  };
  const onEnd = (): void => finish(undefined);
  const onData = (chunk: Buffer): void => {
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end === -1) return;
    const [first = '', ...lines] = text.slice(0, end).split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const length = hasNoBody ? 0 : Number(headers.get('content-length') ?? 0);
    if (text.length - end - 4 >= length) finish({ status: Number(first.split(' ')[1]), headers });
  };
  const timer = setTimeout(onEnd, LIMIT_MS);
  socket.on('data', onData).on('close', onEnd).on('end', onEnd);
  return promise;
}

/** Each request in a stream of one connection, which is made anew where Envoy ends it. */
export function http2Client(target: Target): WireClient {
  let session: ClientHttp2Session | undefined;
  return {
    async send(request) {
      if (session === undefined || session.closed || session.destroyed) session = await openSession(target);
      return await sendStream(session, request);
    },
    [Symbol.dispose]: () => session?.destroy(),
  };
}

async function openSession(target: Target): Promise<ClientHttp2Session> {
  const socket = await openSocket(target, 'h2');
  const authority = `${target.tls === undefined ? 'http' : 'https'}://${target.address}`;
  const session = connectHttp2(authority, { createConnection: () => socket });
  session.on('error', () => undefined);
  return session;
}

async function sendStream(
  session: ClientHttp2Session,
  { method, path, authority, headers }: WireRequest,
): Promise<WireAnswer> {
  const fields: Record<string, string | string[]> = {
    ':method': method,
    ':path': path,
    ':authority': authority,
    ':scheme': session.encrypted === true ? 'https' : 'http',
  };
  for (const [name, value] of headers) {
    const before = fields[name.toLowerCase()] ?? [];
    fields[name.toLowerCase()] = [...(typeof before === 'string' ? [before] : before), value];
  }
  const { promise, resolve } = Promise.withResolvers<WireAnswer>();
  try {
    const stream = session.request(fields, { endStream: true });
    stream.setTimeout(LIMIT_MS, () => stream.close());
    stream.on('response', (given) => {
      const { ':status': status = 0, ...rest } = given;
      resolve({ status, headers: new Map(Object.entries(rest).map(([name, value]) => [name, String(value)])) });
      stream.resume();
    });
    stream.on('error', () => resolve(undefined)).on('close', () => resolve(undefined));
  } catch {
    // What Node does not write.
    resolve(undefined);
  }
  return await promise;
}

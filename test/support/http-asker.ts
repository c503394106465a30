import { once } from 'node:events';
import { request, type RequestOptions } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';

/** What a proxy got from the gate's door for HTTP. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface HttpAsked {
  readonly method?: string;
  readonly path?: string;
  /** Names and values in turns. */
  readonly headers?: readonly string[];
  readonly body?: string | Uint8Array;
}

/** Asks on a connection of its own. `address` is `unix:PATH`. */
export async function askHttp(address: string, asked: HttpAsked = {}, how: RequestOptions = {}): Promise<HttpAnswer> {
  const { method = 'GET', path = '/', headers = ['host', 'orders.test'], body } = asked;
  const call = request({ ...socketOf(address), method, path, headers: [...headers], agent: false, ...how });
  call.end(body);
  const [response] = (await once(call, 'response')) as [NodeJS.ReadableStream & { statusCode: number; headers: never }];
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

function socketOf(address: string): RequestOptions {
  return { socketPath: address.slice('unix:'.length) };
}

/** Sends bytes as they are, and gives what came until the connection ended. */
export async function sendRaw(address: string, bytes: string | Uint8Array): Promise<string> {
  const socket = openRaw(address);
  socket.write(bytes);
  return await text(socket);
}

export function openRaw(address: string): Socket {
  const socket = connect(address.slice('unix:'.length));
  socket.on('error', () => undefined); // a connection that is ended while it still sends
  return socket;
}

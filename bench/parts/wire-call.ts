import { openWireConnection, type WireCallStart, type WireStream } from './wire-connection.ts';

export type { WireMessage } from './wire-connection.ts';

export interface WireCallOptions extends WireCallStart {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Told once, when the call ends by itself; none of ours does. */
  readonly onEnd: (reason: string) => void;
}

export interface WireCall extends WireStream {
  close(): void;
}

/** A call on a connection of its own. */
export function openWireCall({ socket, onEnd, ...start }: WireCallOptions): WireCall {
  const connection = openWireConnection(socket, onEnd);
  const stream = connection.call(start);
  return { send: (message) => stream.send(message), close: () => connection.close() };
}

import type { Peer } from '../peer.ts';

/** One HTTP request as it came. */
export interface HttpCall {
  readonly peer: Peer;
  /** Aborted when the caller goes away, or its process ends. */
  readonly signal: AbortSignal;
  readonly method: string;
  /** Of the request line: a path, an absolute URL, or `*`. Each character is a byte. */
  readonly target: string;
  /** Names in lower case, in their order; a name that came twice is there twice. Each character of a value is a byte. */
  readonly headers: readonly HttpHeader[];
  readonly body: Uint8Array;
}

export type HttpHeader = readonly [name: string, value: string];

export interface HttpReply {
  /** 200 to 599. */
  readonly status: number;
  /** Neither `content-length` nor `connection`. */
  readonly headers: readonly HttpHeader[];
  readonly body: string;
}

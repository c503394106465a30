import type { SvidgateError } from '../core/index.ts';
import type { Peer } from './peer.ts';

/** What a handler knows of its call besides the bytes. */
export interface CallContext {
  readonly peer: Peer;
  /** Aborted when the caller goes away, its process ends, or the server stops; the reason says which. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds from `grpc-timeout`, or undefined when the caller set none. */
  readonly deadline: number | undefined;
  /** The values of a request header by its lower-case name. Node joins a header that came twice with a comma. */
  header(name: string): readonly string[];
}

/** One request, one response. Raw bytes both ways, so that a handler answers for bytes that are no message, too. */
export interface UnaryMethod {
  readonly kind: 'unary';
  /** `/package.Service/Method` */
  readonly path: string;
  readonly handle: (request: Uint8Array, context: CallContext) => Promise<Uint8Array>;
  /**
   * The response to a call that the handler did not answer: it threw, the server is stopping, the caller has ended, the
   * message was refused by gRPC. Undefined, or no such function: the call ends with the error's status. Must not throw.
   */
  readonly onFault?: (error: SvidgateError) => Uint8Array | undefined;
}

/** Requests and responses as they come. The call ends well when the handler returns, with a status when it throws. */
export interface StreamMethod {
  readonly kind: 'stream';
  readonly path: string;
  readonly handle: (requests: AsyncIterable<Uint8Array>, context: CallContext) => AsyncIterable<Uint8Array>;
}

/** One request, any number of responses. It ends as a stream does. */
export interface ServerStreamMethod {
  readonly kind: 'server-stream';
  readonly path: string;
  readonly handle: (request: Uint8Array, context: CallContext) => AsyncIterable<Uint8Array>;
}

export type GrpcMethod = UnaryMethod | StreamMethod | ServerStreamMethod;

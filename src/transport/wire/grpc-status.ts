import type { ServerHttp2Stream } from 'node:http2';
import type { GrpcStatusName } from '../../core/index.ts';

/** https://grpc.io/docs/guides/status-codes/ */
const NUMBERS: Readonly<Record<GrpcStatusName, string>> = {
  CANCELLED: '1',
  INVALID_ARGUMENT: '3',
  DEADLINE_EXCEEDED: '4',
  NOT_FOUND: '5',
  ALREADY_EXISTS: '6',
  PERMISSION_DENIED: '7',
  RESOURCE_EXHAUSTED: '8',
  FAILED_PRECONDITION: '9',
  UNIMPLEMENTED: '12',
  INTERNAL: '13',
  UNAVAILABLE: '14',
};

/** What ends a call that is not answered. */
export interface GrpcFailure {
  readonly status: GrpcStatusName;
  readonly message: string;
}

const ACCEPTED_ENCODINGS = 'identity,deflate,gzip';

/** Of every response. Node copies them. */
export const RESPONSE_HEADERS = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': ACCEPTED_ENCODINGS,
};
export const BEFORE_TRAILERS = { waitForTrailers: true, sendDate: false };
const ALONE = { endStream: true, sendDate: false };
export const OK_TRAILERS = { 'grpc-status': '0', 'grpc-message': 'OK' };

/** Without a response: the trailers stand in the place of its headers. */
export function respondTrailersOnly(stream: ServerHttp2Stream, trailers: Readonly<Record<string, string>>): void {
  stream.respond({ ...RESPONSE_HEADERS, ...trailers }, ALONE);
}

/**
 * The caller goes on sending though all is said (RFC 9113 §8.1). What was said leaves with the next turn of the event
 * loop, and this comes after it.
 */
export function closeSoon(stream: ServerHttp2Stream): void {
  setImmediate(() => setImmediate(() => stream.close()));
}

/** Of characters: a block of trailers beyond 64 KiB ends the connection, and a message may repeat what was sent. */
const MAX_MESSAGE_LENGTH = 1024;

export function trailersOf({ status, message }: GrpcFailure): Record<string, string> {
  return { 'grpc-status': NUMBERS[status], 'grpc-message': percentEncode(message.slice(0, MAX_MESSAGE_LENGTH)) };
}

/** As gRPC has it for `grpc-message`: UTF-8, all but printable ASCII encoded, and the percent sign. */
export function percentEncode(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= SPACE && byte <= TILDE && byte !== PERCENT;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

const SPACE = 0x20;
const PERCENT = 0x25;
const TILDE = 0x7e;

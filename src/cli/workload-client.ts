import { SvidgateError } from '../core/index.ts';
import {
  decodeMessage,
  encodeMessage,
  JwtSvidRequest,
  JwtSvidResponse,
  WORKLOAD_API_SERVICE,
  X509SvidResponse,
  type JwtSvidRequestInit,
} from '../proto/index.ts';
import { connectGrpc } from '../transport/index.ts';
import type { ServerOptions } from './command-line.ts';
import { workloadSocket } from './server-address.ts';

/** The Workload API, as this process sees it. */
export interface WorkloadClient {
  /** What it holds now, and again after each change. */
  x509Svids(): AsyncGenerator<X509SvidResponse, void, void>;
  jwtSvids(request: JwtSvidRequestInit): Promise<JwtSvidResponse>;
}

const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const CALL_TIMEOUT_MS = 30_000;
/** SPIFFE Workload Endpoint §6.2 */
const HEADERS = { 'workload.spiffe.io': 'true' };

/** Connects to the workload socket that the options name, and closes the connection when the work is done. */
export async function withWorkloadApi<T>(
  options: ServerOptions & { readonly signal?: AbortSignal },
  work: (workload: WorkloadClient) => Promise<T>,
): Promise<T> {
  const socket = await workloadSocket(options);
  using client = await connectGrpc({ socket, maxMessageBytes: MAX_RESPONSE_BYTES });
  const call = { signal: options.signal ?? new AbortController().signal, headers: HEADERS };
  try {
    return await work({
      async *x509Svids() {
        const path = WORKLOAD_API_SERVICE.fetchX509Svid.path;
        for await (const bytes of client.serverStream(path, new Uint8Array(), call)) {
          yield decodeMessage(X509SvidResponse, bytes, MAX_RESPONSE_BYTES);
        }
      },
      async jwtSvids(request) {
        const bytes = encodeMessage(JwtSvidRequest, request);
        const limit = { ...call, timeoutMs: CALL_TIMEOUT_MS };
        const response = await client.unary(WORKLOAD_API_SERVICE.fetchJwtSvid.path, bytes, limit);
        return decodeMessage(JwtSvidResponse, response, MAX_RESPONSE_BYTES);
      },
    });
  } catch (error) {
    throw workloadError(error);
  }
}

/** There is one permission on this socket: to have an entry. */
function workloadError(caught: unknown): SvidgateError {
  const error = SvidgateError.from(caught);
  return error.code === 'permission_denied' ? new SvidgateError('no_identity', error.message) : error;
}

import { ERROR_CATALOGUE, SvidgateError, type ErrorCode } from '../core/index.ts';
import {
  adminRpc,
  decodeMessage,
  encodeMessage,
  type AdminRequestInit,
  type AdminResponse,
  type AdminRpcName,
} from '../proto/index.ts';
import { connectGrpc, type GrpcClient } from '../transport/index.ts';
import type { ServerOptions } from './command-line.ts';
import { adminSocket } from './server-address.ts';

/** The admin API of one server. Each call throws the server's own error. */
export interface AdminClient {
  call<Name extends AdminRpcName>(name: Name, request: AdminRequestInit<Name>): Promise<AdminResponse<Name>>;
  stream<Name extends AdminRpcName>(
    name: Name,
    request: AdminRequestInit<Name>,
  ): AsyncGenerator<AdminResponse<Name>, void, void>;
}

const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** An import of 100,000 entries takes a few seconds. */
const CALL_TIMEOUT_MS = 120_000;

/** Connects to the server that the options name, and closes the connection when the work is done. */
export async function withAdmin<T>(
  options: ServerOptions & { /** Ends calls and streams. */ readonly signal?: AbortSignal },
  work: (admin: AdminClient) => Promise<T>,
): Promise<T> {
  const socket = await adminSocket(options);
  using client = await connectGrpc({ socket, maxMessageBytes: MAX_RESPONSE_BYTES });
  return await work(createAdminClient(client, options.signal ?? new AbortController().signal));
}

function createAdminClient(client: GrpcClient, signal: AbortSignal): AdminClient {
  return {
    async call<Name extends AdminRpcName>(name: Name, request: AdminRequestInit<Name>): Promise<AdminResponse<Name>> {
      const rpc = adminRpc(name);
      try {
        const bytes = encodeMessage(rpc.request, request);
        const response = await client.unary(rpc.path, bytes, { signal, timeoutMs: CALL_TIMEOUT_MS });
        return decodeMessage(rpc.response, response, MAX_RESPONSE_BYTES);
      } catch (error) {
        throw serverError(error);
      }
    },
    async *stream<Name extends AdminRpcName>(
      name: Name,
      request: AdminRequestInit<Name>,
    ): AsyncGenerator<AdminResponse<Name>, void, void> {
      const rpc = adminRpc(name);
      try {
        for await (const bytes of client.serverStream(rpc.path, encodeMessage(rpc.request, request), { signal })) {
          yield decodeMessage(rpc.response, bytes, MAX_RESPONSE_BYTES);
        }
      } catch (error) {
        throw serverError(error);
      }
    },
  };
}

/** The error with the code that its message starts with. What gRPC itself says has none. */
function serverError(caught: unknown): SvidgateError {
  const error = SvidgateError.from(caught);
  const [, code = '', message = ''] = /^([a-z_]+): (.*)$/s.exec(error.message) ?? [];
  if (!Object.hasOwn(ERROR_CATALOGUE, code)) return error;
  return new SvidgateError(code as ErrorCode, message);
}

import { join } from 'node:path';
import {
  adminRpc,
  decodeMessage,
  encodeMessage,
  type AdminRequestInit,
  type AdminResponse,
  type AdminRpcName,
} from '../../src/proto/index.ts';
import { connectGrpc } from '../../src/transport/index.ts';
import type { BenchServer } from './bench-server.ts';

/** Of svidgate.admin.v1.ImportMode. */
export const IMPORT_MODE = { create: 1, replace: 2 } as const;

const MAX_BYTES = 16 * 1024 * 1024;

/** The admin API of a server that runs. */
export interface AdminClient extends Disposable {
  call<Name extends AdminRpcName>(name: Name, request: AdminRequestInit<Name>): Promise<AdminResponse<Name>>;
}

export async function connectAdmin(server: BenchServer): Promise<AdminClient> {
  const client = await connectGrpc({ socket: join(server.folder, 'run/admin.sock'), maxMessageBytes: MAX_BYTES });
  return {
    async call(name, request) {
      const rpc = adminRpc(name);
      const { signal } = new AbortController();
      const bytes = await client.unary(rpc.path, encodeMessage(rpc.request, request), { signal });
      return decodeMessage(rpc.response, bytes, MAX_BYTES);
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

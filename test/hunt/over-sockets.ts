import { join } from 'node:path';
import { noMetrics, silentLogger } from '../../src/core/index.ts';
import { startGrpcServer } from '../../src/transport/index.ts';
import { connectRaw, frame } from '../support/raw-grpc.ts';
import type { World } from './world.ts';

/**
 * The same world, asked through a real server on a Unix socket. gRPC by hand, so that an answer that comes after its deadline
 * is seen, too. Every caller is the one of that socket, and none goes away.
 */
export async function overSockets(world: World, folder: string): Promise<World> {
  const { method, identify } = world.gate;
  const server = await startGrpcServer({
    name: 'gate',
    address: { kind: 'unix', path: join(folder, 'gate.sock'), mode: 0o600 },
    methods: [method],
    identify,
    maxMessageBytes: 1024 * 1024,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const client = connectRaw(server.address);
  return {
    ...world,
    async ask(bytes, { deadlineMs }) {
      const headers = { 'grpc-timeout': timeoutText(deadlineMs) };
      const { grpcStatus, message } = await client.call({ path: method.path, headers, body: [frame(bytes)] });
      if (grpcStatus === '0' && message !== undefined) return { kind: 'bytes', bytes: message };
      return { kind: 'grpc_error', message: `status ${grpcStatus ?? 'none'}` };
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await server.stop(0);
    },
  };
}

/** At most eight digits. */
function timeoutText(ms: number): string {
  if (ms <= 0) return '1n';
  return ms < 1e8 ? `${ms}m` : '99999999S';
}

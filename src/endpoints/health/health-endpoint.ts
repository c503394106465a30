import { SvidgateError, type ReadonlyWatchable } from '../../core/index.ts';
import {
  decodeMessage,
  encodeMessage,
  HEALTH_SERVICE,
  HealthCheckRequest,
  HealthCheckResponse,
  HealthListResponse,
} from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';

const MAX_REQUEST_BYTES = 64 * 1024;
const { SERVING, NOT_SERVING } = HealthCheckResponse.ServingStatus;

export interface HealthOptions {
  /** Full names of services that may be asked for beside the server as a whole; all are as healthy. Default none. */
  readonly services?: readonly string[];
  /** Default: whoever gets an answer sees a server that serves. */
  readonly isServing?: () => boolean;
  /** Changes when `isServing` may have. */
  readonly changes?: ReadonlyWatchable<unknown>;
}

/** grpc.health.v1.Health for a listener. */
export function createHealthEndpoint(options: HealthOptions = {}): readonly GrpcMethod[] {
  const { services = [], isServing = () => true, changes } = options;
  const status = () => ({ status: isServing() ? SERVING : NOT_SERVING });
  return [
    {
      kind: 'unary',
      path: HEALTH_SERVICE.check.path,
      async handle(request) {
        checkService(request, services);
        return encodeMessage(HealthCheckResponse, status());
      },
    },
    {
      kind: 'server-stream',
      path: HEALTH_SERVICE.watch.path,
      async *handle(request, { signal }) {
        checkService(request, services);
        let told = status();
        yield encodeMessage(HealthCheckResponse, told);
        // The stream ends when the server stops.
        if (changes === undefined) return await aborted(signal);
        for await (const _ of changes.watch(signal)) {
          const now = status();
          if (now.status === told.status) continue;
          told = now;
          yield encodeMessage(HealthCheckResponse, told);
        }
      },
    },
    {
      kind: 'unary',
      path: HEALTH_SERVICE.list.path,
      handle: () => {
        const statuses = Object.fromEntries(['', ...services].map((service) => [service, status()]));
        return Promise.resolve(encodeMessage(HealthListResponse, { statuses }));
      },
    },
  ];
}

/** Throws `invalid_request` for a service that is not served here, as spire-agent does. */
function checkService(request: Uint8Array, services: readonly string[]): void {
  const { service } = decodeMessage(HealthCheckRequest, request, MAX_REQUEST_BYTES);
  if (service === '' || services.includes(service)) return;
  const message = services.length === 0 ? 'per-service health is not supported' : 'there is no such service';
  throw new SvidgateError('invalid_request', message);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

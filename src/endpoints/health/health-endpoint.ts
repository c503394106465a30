import { SvidgateError } from '../../core/index.ts';
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
const SERVING = { status: HealthCheckResponse.ServingStatus.SERVING };

/** grpc.health.v1.Health for a whole listener: whoever gets an answer sees one that serves. */
export function createHealthEndpoint(): readonly GrpcMethod[] {
  return [
    {
      kind: 'unary',
      path: HEALTH_SERVICE.check.path,
      async handle(request) {
        checkService(request);
        return encodeMessage(HealthCheckResponse, SERVING);
      },
    },
    {
      kind: 'server-stream',
      path: HEALTH_SERVICE.watch.path,
      async *handle(request, { signal }) {
        checkService(request);
        yield encodeMessage(HealthCheckResponse, SERVING);
        // It changes once, when the server stops; and then the stream ends.
        await aborted(signal);
      },
    },
    {
      kind: 'unary',
      path: HEALTH_SERVICE.list.path,
      handle: () => Promise.resolve(encodeMessage(HealthListResponse, { statuses: { '': SERVING } })),
    },
  ];
}

/** Throws `invalid_request` for anything but the server as a whole, as spire-agent does. */
function checkService(request: Uint8Array): void {
  const { service } = decodeMessage(HealthCheckRequest, request, MAX_REQUEST_BYTES);
  if (service !== '') throw new SvidgateError('invalid_request', 'per-service health is not supported');
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

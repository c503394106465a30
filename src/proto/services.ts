/** One gRPC method as data. Messages cross transport as raw bytes, so that a decode error is ours to answer. */
export interface GrpcMethod {
  /** The HTTP/2 :path. */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** envoy.service.secret.v3.SecretDiscoveryService. */
export const SECRET_DISCOVERY_SERVICE = {
  deltaSecrets: {
    path: '/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets',
    requestStream: true,
    responseStream: true,
  },
  streamSecrets: {
    path: '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
    requestStream: true,
    responseStream: true,
  },
  fetchSecrets: {
    path: '/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets',
    requestStream: false,
    responseStream: false,
  },
} as const satisfies Record<string, GrpcMethod>;

/** envoy.service.auth.v3.Authorization. */
export const AUTHORIZATION_SERVICE = {
  check: {
    path: '/envoy.service.auth.v3.Authorization/Check',
    requestStream: false,
    responseStream: false,
  },
} as const satisfies Record<string, GrpcMethod>;

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

/** envoy.service.discovery.v3.AggregatedDiscoveryService. */
export const AGGREGATED_DISCOVERY_SERVICE = {
  streamAggregatedResources: {
    path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources',
    requestStream: true,
    responseStream: true,
  },
  deltaAggregatedResources: {
    path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
    requestStream: true,
    responseStream: true,
  },
} as const satisfies Record<string, GrpcMethod>;

/** envoy.service.extension.v3.ExtensionConfigDiscoveryService. */
export const EXTENSION_CONFIG_DISCOVERY_SERVICE = {
  streamExtensionConfigs: {
    path: '/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs',
    requestStream: true,
    responseStream: true,
  },
  deltaExtensionConfigs: {
    path: '/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs',
    requestStream: true,
    responseStream: true,
  },
  fetchExtensionConfigs: {
    path: '/envoy.service.extension.v3.ExtensionConfigDiscoveryService/FetchExtensionConfigs',
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

/** envoy.service.accesslog.v3.AccessLogService. */
export const ACCESS_LOG_SERVICE = {
  streamAccessLogs: {
    path: '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs',
    requestStream: true,
    responseStream: false,
  },
} as const satisfies Record<string, GrpcMethod>;

/** envoy.service.metrics.v3.MetricsService. */
export const METRICS_SERVICE = {
  streamMetrics: {
    path: '/envoy.service.metrics.v3.MetricsService/StreamMetrics',
    requestStream: true,
    responseStream: false,
  },
} as const satisfies Record<string, GrpcMethod>;

/** SpiffeWorkloadAPI, which has no package. */
export const WORKLOAD_API_SERVICE = {
  fetchX509Svid: { path: '/SpiffeWorkloadAPI/FetchX509SVID', requestStream: false, responseStream: true },
  fetchX509Bundles: { path: '/SpiffeWorkloadAPI/FetchX509Bundles', requestStream: false, responseStream: true },
  fetchJwtSvid: { path: '/SpiffeWorkloadAPI/FetchJWTSVID', requestStream: false, responseStream: false },
  fetchJwtBundles: { path: '/SpiffeWorkloadAPI/FetchJWTBundles', requestStream: false, responseStream: true },
  validateJwtSvid: { path: '/SpiffeWorkloadAPI/ValidateJWTSVID', requestStream: false, responseStream: false },
  fetchWitSvid: { path: '/SpiffeWorkloadAPI/FetchWITSVID', requestStream: false, responseStream: true },
  fetchWitBundles: { path: '/SpiffeWorkloadAPI/FetchWITBundles', requestStream: false, responseStream: true },
} as const satisfies Record<string, GrpcMethod>;

/** grpc.health.v1.Health. */
export const HEALTH_SERVICE = {
  check: { path: '/grpc.health.v1.Health/Check', requestStream: false, responseStream: false },
  watch: { path: '/grpc.health.v1.Health/Watch', requestStream: false, responseStream: true },
  list: { path: '/grpc.health.v1.Health/List', requestStream: false, responseStream: false },
} as const satisfies Record<string, GrpcMethod>;

/** ServerReflection of grpc.reflection.v1, and of v1alpha, whose messages are the same. */
export const REFLECTION_SERVICE = {
  v1: {
    path: '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    requestStream: true,
    responseStream: true,
  },
  v1alpha: {
    path: '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
    requestStream: true,
    responseStream: true,
  },
} as const satisfies Record<string, GrpcMethod>;

import {
  envoy,
  google,
  grpc,
  io,
  JWTBundlesResponse,
  JWTSVIDRequest,
  JWTSVIDResponse,
  ValidateJWTSVIDRequest,
  ValidateJWTSVIDResponse,
  X509BundlesResponse,
  X509SVIDResponse,
  type JWTBundlesResponseInit,
  type JWTSVIDRequestInit,
  type JWTSVIDResponseInit,
  type ValidateJWTSVIDRequestInit,
  type X509BundlesResponseInit,
  type X509SVIDInit,
  type X509SVIDResponseInit,
} from './generated/messages.js';

/**
 * The generated messages under short names. For a message X, the type X is what decoding gives, XInit is what encoding
 * takes, and the constant X is its codec for encodeMessage and decodeMessage. Fields are in lowerCamelCase, but those of
 * google.protobuf.Any keep their underscores.
 */
export type { Codec, Int64 } from './generated/messages.js';

export type HttpAccessLogEntry = envoy.data.accesslog.v3.HTTPAccessLogEntry;
export type HttpAccessLogEntryInit = envoy.data.accesslog.v3.HTTPAccessLogEntryInit;
export const HttpAccessLogEntry = envoy.data.accesslog.v3.HTTPAccessLogEntry;

export type StreamAccessLogsMessage = envoy.service.accesslog.v3.StreamAccessLogsMessage;
export type StreamAccessLogsMessageInit = envoy.service.accesslog.v3.StreamAccessLogsMessageInit;
export const StreamAccessLogsMessage = envoy.service.accesslog.v3.StreamAccessLogsMessage;

export type StreamMetricsMessage = envoy.service.metrics.v3.StreamMetricsMessage;
export type StreamMetricsMessageInit = envoy.service.metrics.v3.StreamMetricsMessageInit;
export const StreamMetricsMessage = envoy.service.metrics.v3.StreamMetricsMessage;

export type CheckRequest = envoy.service.auth.v3.CheckRequest;
export type CheckRequestInit = envoy.service.auth.v3.CheckRequestInit;
export const CheckRequest = envoy.service.auth.v3.CheckRequest;

export type CheckResponse = envoy.service.auth.v3.CheckResponse;
export type CheckResponseInit = envoy.service.auth.v3.CheckResponseInit;
export const CheckResponse = envoy.service.auth.v3.CheckResponse;

export type DeltaDiscoveryRequest = envoy.service.discovery.v3.DeltaDiscoveryRequest;
export type DeltaDiscoveryRequestInit = envoy.service.discovery.v3.DeltaDiscoveryRequestInit;
export const DeltaDiscoveryRequest = envoy.service.discovery.v3.DeltaDiscoveryRequest;

export type DeltaDiscoveryResponse = envoy.service.discovery.v3.DeltaDiscoveryResponse;
export type DeltaDiscoveryResponseInit = envoy.service.discovery.v3.DeltaDiscoveryResponseInit;
export const DeltaDiscoveryResponse = envoy.service.discovery.v3.DeltaDiscoveryResponse;

export type DiscoveryRequest = envoy.service.discovery.v3.DiscoveryRequest;
export type DiscoveryRequestInit = envoy.service.discovery.v3.DiscoveryRequestInit;
export const DiscoveryRequest = envoy.service.discovery.v3.DiscoveryRequest;

export type DiscoveryResponse = envoy.service.discovery.v3.DiscoveryResponse;
export type DiscoveryResponseInit = envoy.service.discovery.v3.DiscoveryResponseInit;
export const DiscoveryResponse = envoy.service.discovery.v3.DiscoveryResponse;

export type MtlsAuthenticatedInit = envoy.extensions.rbac.principals.mtls_authenticated.v3.ConfigInit;
export const MtlsAuthenticated = envoy.extensions.rbac.principals.mtls_authenticated.v3.Config;

export type RbacFilter = envoy.extensions.filters.http.rbac.v3.RBAC;
export type RbacFilterInit = envoy.extensions.filters.http.rbac.v3.RBACInit;
export const RbacFilter = envoy.extensions.filters.http.rbac.v3.RBAC;
export type RbacRulesInit = envoy.config.rbac.v3.RBACInit;
export const RbacRules = envoy.config.rbac.v3.RBAC;
export type RbacPolicyInit = envoy.config.rbac.v3.PolicyInit;
export type CelExpressionInit = google.api.expr.v1alpha1.ExprInit;
export type PermissionInit = envoy.config.rbac.v3.PermissionInit;
export type Principal = envoy.config.rbac.v3.Principal;
export type PrincipalInit = envoy.config.rbac.v3.PrincipalInit;
export type StringMatcher = envoy.type.matcher.v3.StringMatcher;
export type StringMatcherInit = envoy.type.matcher.v3.StringMatcherInit;

export type TypedExtensionConfig = envoy.config.core.v3.TypedExtensionConfig;
export type TypedExtensionConfigInit = envoy.config.core.v3.TypedExtensionConfigInit;
export const TypedExtensionConfig = envoy.config.core.v3.TypedExtensionConfig;

export type Secret = envoy.extensions.transport_sockets.tls.v3.Secret;
export type SecretInit = envoy.extensions.transport_sockets.tls.v3.SecretInit;
export const Secret = envoy.extensions.transport_sockets.tls.v3.Secret;

export type SpiffeCertValidatorConfig = envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig;
export type SpiffeCertValidatorConfigInit = envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfigInit;
export const SpiffeCertValidatorConfig = envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig;

export type Status = google.rpc.Status;
export type StatusInit = google.rpc.StatusInit;
export const Status = google.rpc.Status;

export type Struct = google.protobuf.Struct;
export type StructInit = google.protobuf.StructInit;
export const Struct = google.protobuf.Struct;

// The Workload API: its messages have no package, and their names are the standard's. A type X and its codec X are one export.
export {
  JWTBundlesResponse as JwtBundlesResponse,
  JWTSVIDRequest as JwtSvidRequest,
  JWTSVIDResponse as JwtSvidResponse,
  ValidateJWTSVIDRequest as ValidateJwtSvidRequest,
  ValidateJWTSVIDResponse as ValidateJwtSvidResponse,
  X509BundlesResponse,
  X509SVIDResponse as X509SvidResponse,
};
export type {
  JWTBundlesResponseInit as JwtBundlesResponseInit,
  JWTSVIDRequestInit as JwtSvidRequestInit,
  JWTSVIDResponseInit as JwtSvidResponseInit,
  ValidateJWTSVIDRequestInit as ValidateJwtSvidRequestInit,
  X509BundlesResponseInit,
  X509SVIDInit as X509SvidInit,
  X509SVIDResponseInit as X509SvidResponseInit,
};

export const HealthCheckRequest = grpc.health.v1.HealthCheckRequest;
export const HealthCheckResponse = grpc.health.v1.HealthCheckResponse;
export const HealthListResponse = grpc.health.v1.HealthListResponse;

export type ServerReflectionRequest = grpc.reflection.v1.ServerReflectionRequest;
export type ServerReflectionResponseInit = grpc.reflection.v1.ServerReflectionResponseInit;
export const ServerReflectionRequest = grpc.reflection.v1.ServerReflectionRequest;
export const ServerReflectionResponse = grpc.reflection.v1.ServerReflectionResponse;

// Parts of the messages above, for those who build or read them piece by piece.
export type Address = envoy.config.core.v3.Address;
export const Address = envoy.config.core.v3.Address;
export type Any = google.protobuf.Any;
export type AnyInit = google.protobuf.AnyInit;
export type AttributeContext = envoy.service.auth.v3.AttributeContext;
export type CertificateValidationContextInit =
  envoy.extensions.transport_sockets.tls.v3.CertificateValidationContextInit;
export type DataSourceInit = envoy.config.core.v3.DataSourceInit;
export type DeltaResourceInit = envoy.service.discovery.v3.ResourceInit;
export const DiscoveryResource = envoy.service.discovery.v3.Resource;
export type DiscoveryResource = envoy.service.discovery.v3.Resource;
export type DeniedHttpResponseInit = envoy.service.auth.v3.DeniedHttpResponseInit;
export type Duration = google.protobuf.Duration;
export type DurationInit = google.protobuf.DurationInit;
export type HeaderValueOptionInit = envoy.config.core.v3.HeaderValueOptionInit;
export type HttpRequest = envoy.service.auth.v3.AttributeContext.HttpRequest;
export type Metadata = envoy.config.core.v3.Metadata;
export const Metadata = envoy.config.core.v3.Metadata;
export type Node = envoy.config.core.v3.Node;
export type OkHttpResponseInit = envoy.service.auth.v3.OkHttpResponseInit;
export type Peer = envoy.service.auth.v3.AttributeContext.Peer;
export type Timestamp = google.protobuf.Timestamp;
export const Timestamp = google.protobuf.Timestamp;
export type TimestampInit = google.protobuf.TimestampInit;
export type SubjectAltNameMatcherInit = envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcherInit;
export const SanType = envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher.SanType;
export type TlsCertificateInit = envoy.extensions.transport_sockets.tls.v3.TlsCertificateInit;
export type Value = google.protobuf.Value;
export type ValueInit = google.protobuf.ValueInit;

/** How a header of a reply meets one of the same name. */
export const HeaderAppendAction = envoy.config.core.v3.HeaderValueOption.HeaderAppendAction;

/** The HTTP status codes that Envoy accepts in a reply of its own making. */
export const StatusCode = envoy.type.v3.StatusCode;

export const HeaderValue = envoy.config.core.v3.HeaderValue;
export const HttpRequestProperties = envoy.data.accesslog.v3.HTTPRequestProperties;
export const TlsProperties = envoy.data.accesslog.v3.TLSProperties;

/** Of an access log: what kind of entry. */
export const AccessLogType = envoy.data.accesslog.v3.AccessLogType;
export const RequestMethod = envoy.config.core.v3.RequestMethod;
export const MetricFamily = io.prometheus.client.MetricFamily;

import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, describe, it } from 'node:test';
import protobuf from 'protobufjs';
import {
  ACCESS_LOG_SERVICE,
  AGGREGATED_DISCOVERY_SERVICE,
  AUTHORIZATION_SERVICE,
  HEALTH_SERVICE,
  EXTENSION_CONFIG_DISCOVERY_SERVICE,
  METRICS_SERVICE,
  REFLECTION_SERVICE,
  SECRET_DISCOVERY_SERVICE,
  WORKLOAD_API_SERVICE,
  type GrpcMethod,
} from '../../src/proto/index.ts';
import { compareProtos, type CompareOptions } from '../../tools/protos/compare.ts';
import { loadOurProtos, loadProtoFiles, PROTOS_FOLDER } from '../../tools/protos/load.ts';

const folderOf = (packageName: string): string =>
  dirname(fileURLToPath(import.meta.resolve(`${packageName}/package.json`)));
const REFERENCE_FOLDERS = [
  ...['envoy-api', 'xds', 'protoc-gen-validate', 'googleapis'].map((name) =>
    join(folderOf('@grpc/grpc-js-xds'), 'deps', name),
  ),
  folderOf('protobufjs'), // google/protobuf/descriptor.proto, which annotations extend
  PROTOS_FOLDER, // io.prometheus.client, which the reference has not: real Envoys show whether ours is right
];
const REFERENCE_FILES = [
  'envoy/extensions/transport_sockets/tls/v3/secret.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
  'envoy/service/accesslog/v3/als.proto',
  'envoy/extensions/filters/http/rbac/v3/rbac.proto',
  'envoy/service/auth/v3/external_auth.proto',
  'envoy/service/discovery/v3/ads.proto',
  'envoy/service/metrics/v3/metrics_service.proto',
  'envoy/service/extension/v3/config_discovery.proto',
  'envoy/service/secret/v3/sds.proto',
];

const TLS = 'envoy.extensions.transport_sockets.tls.v3';
const PEER_RULES = 'which peers are let in is for the policy to say, not for the validation context';
const EXACT = 'SPIFFE IDs are compared as they are, whole or from their start';
const NOT_EVIDENCE = 'says nothing about a decision';
const NOT_FROM_FILES = 'Envoy gets bytes from us, not names of files on its own disk';

/** What access log entries have beside what a decision is told from: skipped, since there is one for each request. */
const UNREAD_OF_LOGS: Readonly<Record<string, readonly string[]>> = {
  AccessLogCommon: [
    'sample_rate',
    'time_to_last_rx_byte',
    'time_to_first_upstream_tx_byte',
    'time_to_last_upstream_tx_byte',
    'time_to_first_upstream_rx_byte',
    'time_to_last_upstream_rx_byte',
    'time_to_first_downstream_tx_byte',
    'time_to_last_downstream_tx_byte',
    'upstream_remote_address',
    'upstream_local_address',
    'upstream_cluster',
    'response_flags',
    'upstream_transport_failure_reason',
    'filter_state_objects',
    'duration',
    'upstream_request_attempt_count',
    'connection_termination_details',
    'stream_id',
    'intermediate_log_entry',
    'downstream_transport_failure_reason',
    'downstream_wire_bytes_sent',
    'downstream_wire_bytes_received',
    'upstream_wire_bytes_sent',
    'upstream_wire_bytes_received',
  ],
  TLSProperties: ['tls_version', 'tls_cipher_suite', 'tls_session_id', 'ja3_fingerprint'],
  HTTPRequestProperties: [
    'request_headers_bytes',
    'request_body_bytes',
    'upstream_header_bytes_sent',
    'downstream_header_bytes_received',
  ],
  HTTPResponseProperties: [
    'response_headers_bytes',
    'response_body_bytes',
    'response_headers',
    'response_trailers',
    'upstream_header_bytes_received',
    'downstream_header_bytes_sent',
  ],
};

const MTLS = 'envoy.extensions.rbac.principals.mtls_authenticated.v3.Config';

/** What Envoy's RBAC and its matchers have beside. */
const NOT_OFFLOADED: Readonly<Record<string, readonly string[]>> = {
  'config.rbac.v3.RBAC': ['audit_logging_options'],
  'config.rbac.v3.Policy': ['checked_condition'],
  'config.rbac.v3.Permission': ['metadata', 'matcher', 'uri_template'],
  'config.rbac.v3.Principal': [
    'source_ip',
    'direct_remote_ip',
    'remote_ip',
    'header',
    'url_path',
    'metadata',
    'filter_state',
  ],
  'config.route.v3.HeaderMatcher': [
    'exact_match',
    'safe_regex_match',
    'range_match',
    'prefix_match',
    'suffix_match',
    'contains_match',
    'invert_match',
    'treat_missing_header_as_empty',
  ],
  'extensions.filters.http.rbac.v3.RBAC': ['matcher', 'shadow_matcher', 'track_per_rule_stats'],
  'type.matcher.v3.RegexMatcher': ['google_re2'],
};

/** What CEL has beside the comparison of a header with a text. */
const NOT_COMPARED: Readonly<Record<string, readonly string[]>> = {
  Expr: ['list_expr', 'struct_expr', 'comprehension_expr'],
  'Expr.Select': ['test_only'],
  'Expr.Call': ['target'],
  Constant: [
    'null_value',
    'bool_value',
    'int64_value',
    'uint64_value',
    'double_value',
    'bytes_value',
    'duration_value',
    'timestamp_value',
  ],
};

/**
 * The whole list of what we leave out of the messages that we have. All others are complete, so that a policy sees
 * every attribute of a request and a stream every field of a node.
 */
const EXCEPTIONS: CompareOptions = {
  leftOut: {
    ...Object.fromEntries(
      Object.entries(UNREAD_OF_LOGS).flatMap(([message, fields]) =>
        fields.map((field) => [`envoy.data.accesslog.v3.${message}.${field}`, NOT_EVIDENCE]),
      ),
    ),
    'envoy.service.accesslog.v3.StreamAccessLogsMessage.tcp_logs': 'policies are offloaded for HTTP requests only',
    [`${TLS}.CertificateValidationContext.allow_expired_certificate`]: 'an expired SVID is no identity',
    [`${TLS}.CertificateValidationContext.ca_certificate_provider_instance`]: 'gRPC clients only',
    [`${TLS}.CertificateValidationContext.match_subject_alt_names`]: 'deprecated; the typed one takes its place',
    [`${TLS}.CertificateValidationContext.max_verify_depth`]: "Envoy's own default is right",
    [`${TLS}.CertificateValidationContext.require_signed_certificate_timestamp`]: 'Envoy does not implement it',
    [`${TLS}.CertificateValidationContext.system_root_certs`]: 'trust comes from the bundles alone',
    [`${TLS}.CertificateValidationContext.trust_chain_verification`]: 'chains are always verified',
    [`${TLS}.CertificateValidationContext.verify_certificate_hash`]: PEER_RULES,
    [`${TLS}.CertificateValidationContext.verify_certificate_spki`]: PEER_RULES,
    [`${TLS}.CertificateValidationContext.watched_directory`]: NOT_FROM_FILES,
    [`${TLS}.SubjectAltNameMatcher.oid`]: 'SPIFFE IDs are URIs',
    [`${TLS}.TlsCertificate.ocsp_staple`]: 'SVIDs have no OCSP responder',
    [`${TLS}.TlsCertificate.password`]: 'keys are sent in the clear, over a socket that never leaves the machine',
    [`${TLS}.TlsCertificate.pkcs12`]: 'keys are sent as PEM',
    [`${TLS}.TlsCertificate.private_key_provider`]: 'keys are sent as PEM',
    [`${TLS}.TlsCertificate.signed_certificate_timestamp`]: 'SVIDs are in no public log',
    [`${TLS}.TlsCertificate.watched_directory`]: NOT_FROM_FILES,
    ...Object.fromEntries(
      Object.entries(NOT_OFFLOADED).flatMap(([message, fields]) =>
        fields.map((field) => [`envoy.${message}.${field}`, 'no rule that is offloaded has it']),
      ),
    ),
    ...Object.fromEntries(
      Object.entries(NOT_COMPARED).flatMap(([message, fields]) =>
        fields.map((field) => [`google.api.expr.v1alpha1.${message}.${field}`, 'no rule that is offloaded has it']),
      ),
    ),
    [`envoy.type.matcher.v3.StringMatcher.custom`]: EXACT,
    [`envoy.type.matcher.v3.StringMatcher.ignore_case`]: EXACT,
  },
  ahead: {
    // Read from the descriptors inside Envoy 1.36 and 1.40; the reference package is older.
    'envoy.config.rbac.v3.Principal.custom': 'oneof identifier .envoy.config.core.v3.TypedExtensionConfig = 14',
    [MTLS]: 'message',
    [`${MTLS}.san_matcher`]: `.${TLS}.SubjectAltNameMatcher = 1`,
    [`${MTLS}.any_validated_client_certificate`]: 'bool = 2',
    // Envoy 1.37 and newer have it; the reference package is older.
    'envoy.service.auth.v3.CheckResponse.error_response':
      'oneof http_response .envoy.service.auth.v3.DeniedHttpResponse = 5',
  },
};

function loadReference(): protobuf.Root {
  return loadProtoFiles(REFERENCE_FILES, { folders: REFERENCE_FOLDERS, keepCase: true });
}

/** What Envoy defines; of the rest, some is our own and some is compared with the definitions of Go's packages. */
const loadOurs = (): protobuf.Root => loadOurProtos({ keepCase: true, beneath: ['envoy', 'google', 'xds'] });

describe("protos/ are the reference's definitions", () => {
  let reference: protobuf.Root;
  before(() => {
    reference = loadReference();
  });

  it('has no message, field, number, type, label, enum value or method that differs', () => {
    assert.deepEqual(compareProtos(loadOurs(), reference, EXCEPTIONS), []);
  });

  const ATTRIBUTES = 'envoy.service.auth.v3.AttributeContext';
  const SDS = 'envoy.service.secret.v3.SecretDiscoveryService';
  const MUTATIONS: readonly {
    readonly what: string;
    readonly change: (root: protobuf.Root) => void;
    readonly difference: RegExp;
  }[] = [
    {
      what: 'a field of another number',
      change: (root) => (root.lookupType(`${ATTRIBUTES}.HttpRequest`).fields['size']!.id = 99),
      difference: /HttpRequest\.size: int64 = 99, the reference has: int64 = 9$/,
    },
    {
      what: 'a field of another scalar type',
      change: (root) => replaceField(root, `${ATTRIBUTES}.HttpRequest`, new protobuf.Field('size', 9, 'uint64')),
      difference: /HttpRequest\.size: uint64 = 9/,
    },
    {
      what: 'a field of another message',
      change: (root) =>
        replaceField(root, ATTRIBUTES, new protobuf.Field('source', 1, '.envoy.config.core.v3.Address')),
      difference: /AttributeContext\.source: \.envoy\.config\.core\.v3\.Address = 1/,
    },
    {
      what: 'a list that should be a single value',
      change: (root) =>
        replaceField(root, ATTRIBUTES, new protobuf.Field('request', 4, `.${ATTRIBUTES}.Request`, 'repeated')),
      difference: /AttributeContext\.request: repeated/,
    },
    {
      what: 'a map that should have other values',
      change: (root) =>
        replaceField(root, ATTRIBUTES, new protobuf.MapField('context_extensions', 10, 'string', 'bytes')),
      difference: /context_extensions: map<string, bytes> = 10/,
    },
    {
      what: 'a field outside its oneof',
      change: (root) =>
        replaceField(root, 'envoy.config.core.v3.SocketAddress', new protobuf.Field('port_value', 3, 'uint32')),
      difference: /port_value: uint32 = 3, the reference has: oneof port_specifier uint32 = 3/,
    },
    {
      what: 'a field under another name',
      change: (root) => {
        const type = root.lookupType(`${ATTRIBUTES}.TLSSession`);
        type.remove(type.fields['sni']!);
        type.add(new protobuf.Field('server_name', 1, 'string'));
      },
      difference: /TLSSession\.server_name: string = 1, the reference has: absent/,
    },
    {
      what: 'a field that is missing from a CheckRequest',
      change: (root) => remove(root.lookupType(`${ATTRIBUTES}.HttpRequest`), 'scheme'),
      difference: /HttpRequest\.scheme: absent/,
    },
    {
      what: 'a field that is missing from a DiscoveryRequest',
      change: (root) => remove(root.lookupType('envoy.service.discovery.v3.DiscoveryRequest'), 'error_detail'),
      difference: /DiscoveryRequest\.error_detail: absent/,
    },
    {
      what: 'a field that is missing from a DiscoveryResponse',
      change: (root) => remove(root.lookupType('envoy.service.discovery.v3.DiscoveryResponse'), 'control_plane'),
      difference: /DiscoveryResponse\.control_plane: absent/,
    },
    {
      what: 'an enum value of another number',
      change: (root) => (root.lookupEnum('envoy.type.v3.StatusCode').values['Forbidden'] = 401),
      difference: /StatusCode\.Forbidden: enum value 401, the reference has: enum value 403/,
    },
    {
      what: 'an enum value that is missing',
      change: (root) => delete root.lookupEnum('envoy.type.v3.StatusCode').values['Gone'],
      difference: /StatusCode\.Gone: absent/,
    },
    {
      what: 'a message of our own making',
      change: (root) => root.define('envoy.type.v3').add(new protobuf.Type('Invented')),
      difference: /envoy\.type\.v3\.Invented: the reference has no such name/,
    },
    {
      what: 'a method that does not stream',
      change: (root) => {
        delete root.lookupService(SDS).methods['StreamSecrets']!.requestStream;
      },
      difference: /StreamSecrets: rpc\(\.envoy/,
    },
    {
      what: 'a service method that is missing',
      change: (root) => {
        const service = root.lookupService(SDS);
        service.remove(service.methods['FetchSecrets']!);
      },
      difference: /FetchSecrets: absent/,
    },
    {
      what: 'a number of ours that the reference does not have yet',
      change: (root) => (root.lookupType('envoy.service.auth.v3.CheckResponse').fields['error_response']!.id = 6),
      difference: /error_response: oneof http_response .* = 6, the reference has: .* = 5/,
    },
  ];
  for (const { what, change, difference } of MUTATIONS) {
    it(`finds ${what}`, () => {
      const ours = loadOurs();
      change(ours);
      const differences = compareProtos(ours, reference, EXCEPTIONS);
      assert.match(differences.join('\n'), new RegExp(difference.source, 'm'));
    });
  }

  it('finds an exception that is no longer one', () => {
    const leftOut = { ...EXCEPTIONS.leftOut, [`${TLS}.Secret.name`]: 'no reason' };
    const differences = compareProtos(loadOurs(), reference, { ...EXCEPTIONS, leftOut });
    assert.match(differences.join('\n'), /Secret\.name/);
  });
});

describe('the methods of src/proto', () => {
  const SERVICES: Readonly<Record<string, Readonly<Record<string, GrpcMethod>>>> = {
    'envoy.service.accesslog.v3.AccessLogService': ACCESS_LOG_SERVICE,
    'envoy.service.auth.v3.Authorization': AUTHORIZATION_SERVICE,
    'envoy.service.discovery.v3.AggregatedDiscoveryService': AGGREGATED_DISCOVERY_SERVICE,
    'envoy.service.extension.v3.ExtensionConfigDiscoveryService': EXTENSION_CONFIG_DISCOVERY_SERVICE,
    'envoy.service.metrics.v3.MetricsService': METRICS_SERVICE,
    'envoy.service.secret.v3.SecretDiscoveryService': SECRET_DISCOVERY_SERVICE,
    'grpc.health.v1.Health': HEALTH_SERVICE,
    'grpc.reflection.v1.ServerReflection': { v1: REFLECTION_SERVICE.v1 },
    'grpc.reflection.v1alpha.ServerReflection': { v1alpha: REFLECTION_SERVICE.v1alpha },
    SpiffeWorkloadAPI: WORKLOAD_API_SERVICE,
  };
  for (const [name, methods] of Object.entries(SERVICES)) {
    it(`are those of ${name}`, () => {
      const declared = loadOurProtos({ keepCase: true })
        .lookupService(name)
        .methodsArray.map((method) => ({
          path: `/${name}/${method.name}`,
          requestStream: method.requestStream === true,
          responseStream: method.responseStream === true,
        }));
      assert.deepEqual(Object.values(methods).sort(byPath), declared.sort(byPath));
    });
  }
});

function byPath(one: GrpcMethod, other: GrpcMethod): number {
  return one.path.localeCompare(other.path);
}

function remove(type: protobuf.Type, fieldName: string): void {
  type.remove(type.fields[fieldName]!);
}

function replaceField(root: protobuf.Root, typeName: string, field: protobuf.Field | protobuf.MapField): void {
  const type = root.lookupType(typeName);
  const old = type.fields[field.name]!;
  old.partOf?.remove(old);
  if (old.parent !== null) type.remove(old);
  type.add(field);
}

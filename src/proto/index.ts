/**
 * proto: the messages and methods of protos/ as code, and the small conversions they need.
 * Promises: no code is generated while the server runs; decoding throws SvidgateError and nothing else, refuses strings
 * that are not UTF-8 and keeps 64-bit integers exact; what is encoded is always valid UTF-8.
 * Must not know what a message means, or who sent it.
 */
export {
  ADMIN_RPCS,
  adminRpc,
  type AdminRequest,
  type AdminRequestInit,
  type AdminResponse,
  type AdminResponseInit,
  type AdminRpcName,
  type Rpc,
} from './admin-rpcs.ts';
export {
  packAny,
  EXTENSION_CONFIG_TYPE_URL,
  RESOURCE_TYPE_URL,
  SECRET_TYPE_URL,
  SPIFFE_CERT_VALIDATOR_TYPE_URL,
  unpackAny,
} from './any.ts';
export { decodeMessage, encodeMessage } from './codec.ts';
export { parseDescriptorSet, type DescriptorSet } from './descriptor-set.ts';
export { messageJson } from './dynamic-message.ts';
/** The messages of the admin API, under their full names: svidgate.admin.v1.Entry. */
export { svidgate } from './generated/messages.js';
export { PROTO_FILES, type ProtoFile } from './generated/descriptors.js';
export * from './messages.ts';
export { anyOf, fieldOf, type Pieces } from './pieces.ts';
export {
  ACCESS_LOG_SERVICE,
  AUTHORIZATION_SERVICE,
  EXTENSION_CONFIG_DISCOVERY_SERVICE,
  HEALTH_SERVICE,
  METRICS_SERVICE,
  REFLECTION_SERVICE,
  AGGREGATED_DISCOVERY_SERVICE,
  SECRET_DISCOVERY_SERVICE,
  WORKLOAD_API_SERVICE,
  type GrpcMethod,
} from './services.ts';
export { jsonToStruct, MAX_STRUCT_DEPTH, structToJson, type JsonObject, type JsonValue } from './struct.ts';
export { eachField, Fields, LENGTH_DELIMITED, MAX_FIELDS, readVarint, VARINT } from './wire-fields.ts';
export { durationToMs, int64ToBigInt, msToDuration, msToTimestamp, timestampToMs } from './time.ts';

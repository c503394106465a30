/**
 * endpoints/ext-authz: Envoy's external authorization over gRPC.
 * Promises: every request gets an explicit status before its deadline. Must not know how a request is decided.
 */
export { createExtAuthzEndpoint, type ExtAuthzOptions } from './ext-authz-endpoint.ts';

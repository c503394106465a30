/**
 * endpoints/ext-authz: Envoy's external authorization over gRPC.
 * Promises: every request gets an explicit status before its deadline; an allow is made in one place, from one policy
 * answer, or for a policy that does not decide yet; what is tried beside it delays nothing. Must not know Rego, how callers
 * are attested, or how certificates are checked.
 */
export { createGrpcBodyReader } from './body/grpc-body.ts';
export type { GrpcBodyReader } from './body/parsed-body.ts';
export type { GateAccess } from './caller.ts';
export type { CheckRules } from './check.ts';
export { createExtAuthzEndpoint, type ExtAuthzOptions } from './ext-authz-endpoint.ts';

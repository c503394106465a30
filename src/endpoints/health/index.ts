/**
 * endpoints/health: what tools ask of any gRPC server: whether it serves (grpc.health.v1) and what (gRPC reflection v1 and
 * v1alpha). Promises: tells nothing of identities, policies or callers, so that it needs no attestation.
 */
export { createHealthEndpoint } from './health-endpoint.ts';
export { createReflectionEndpoint } from './reflection-endpoint.ts';

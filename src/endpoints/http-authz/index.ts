/**
 * endpoints/http-authz: external authorization over HTTP, for Envoy's http_service, nginx's auth_request and Traefik's
 * forwardAuth. Promises: what is asked is read from one configured set of headers, and a missing or doubled one is a deny; every
 * request gets an explicit answer. Must not know how a request is decided.
 */
export { createHttpAuthzEndpoint, type HttpAuthzEndpoint, type HttpAuthzOptions } from './http-authz-endpoint.ts';
export type { AskedPath, RequestScheme } from './asked-path.ts';

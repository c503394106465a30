/**
 * transport: the gRPC and HTTP servers, and the Unix socket that knows its peer.
 * Promises: a handler always knows who calls; a slow caller holds back only itself; stopping ends every stream with a
 * status. Must not know what the bytes mean, nor what a caller may do.
 */
export type { ListenAddress } from './bind.ts';
export { connectGrpc, type GrpcCallOptions, type GrpcClient, type GrpcClientOptions } from './grpc-client.ts';
export { startGrpcServer, type GrpcServer, type GrpcServerOptions } from './grpc-server.ts';
export type { CallContext, GrpcMethod, ServerStreamMethod, StreamMethod, UnaryMethod } from './grpc-service.ts';
export { recordRefusal, type RefusedCall } from './record-refusal.ts';
export { startHttpServer, type HttpServer } from './http-server.ts';
export type { HttpCall, HttpHeader, HttpReply } from './http/http-call.ts';
export type { IdentifyPeer, Peer, PeerProcess, TlsPeer } from './peer.ts';
export { startPeerHttpServer, type PeerHttpServer, type PeerHttpServerOptions } from './peer-http-server.ts';
export type { ClientJudge, ClientVerdict, ServerIdentity, ServerTls } from './server-tls.ts';
export { startWireServer, type WireServerOptions } from './wire-server.ts';

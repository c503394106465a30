/**
 * gate: the one way from a request that somebody asks about to its decision, whatever door it came through.
 * Promises: every check gets an answer before its deadline; an allow is made of one policy answer, or for a policy that does
 * not decide yet, and of nothing else; what is tried beside it delays nothing. Must not know how a door's messages look, Rego,
 * how callers are attested, or how certificates are checked.
 */
export { answerCheck, answerFault, type GateOptions } from './answer-check.ts';
export type { EgressTokens, ProvenCaller } from './egress-token.ts';
export { createGrpcBodyReader } from './body/grpc-body.ts';
export type { GrpcBodyReader } from './body/parsed-body.ts';
export type { Caller, GateAccess } from './caller.ts';
export type { CheckCall, CheckQuestion, CheckRules, RefusedQuestion } from './check.ts';
export type { DenyBody } from './deny-body.ts';
export { bodyOf, statusOf, type DenyReply, type GateReply, type ReplyFacts } from './gate-reply.ts';
export { INPUT_SCHEMA, type JsonSchema } from './input-schema.ts';
export { metadataHeader } from './metadata-header.ts';

/**
 * endpoints/access-log: what Envoys say that they answered by themselves: their gRPC access log, and their own counters of it.
 * Promises: whose log it is says the kernel; a caller writes records of policies that it may ask for, by rules that it was
 * given, and of nothing else; whatever is sent is bounded, and is neither waited for nor holds up a decision.
 * Must not know what a rule means, or how a record is made.
 */
export { createAccessLogEndpoint, type AccessLogOptions } from './access-log-endpoint.ts';
export { startTicksOf } from './process-start.ts';

/**
 * endpoints/workload-api: the SPIFFE Workload API over the attested socket.
 * Promises: a caller gets what its own entries give and nothing else; a stream answers at once and on each change, and
 * never twice the same; each secret is preceded by a look whether the attested process still lives. Must not know how
 * identities come about.
 */
export {
  createWorkloadApiEndpoint,
  type WorkloadApiOptions,
  type WorkloadIdentities,
} from './workload-api-endpoint.ts';

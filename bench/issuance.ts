import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { measureAnyAuthority } from './issuance/any-authority.ts';
import { measureCold } from './issuance/cold.ts';
import { measureEntryChange } from './issuance/entry-change.ts';
import { measureMatching } from './issuance/matching.ts';
import { measureMemory } from './issuance/memory.ts';
import { measureSigning } from './issuance/signing.ts';

const COLD_LIMIT_MS = 1500;
const MATCH_LIMIT_US = 1000;

export const issuance: Benchmark = {
  name: 'issuance',
  summary: 'SVIDs a second, a thousand identities from cold, memory, matching, and a change until its push',
  method: [
    'Each X.509-SVID is a new P-256 key and a leaf signed by the P-256 CA, as an authority on a real data directory ' +
      'issues it, in this process. The floor is what no implementation can leave out: node:crypto makes a key and signs ' +
      '450 bytes, without a certificate around it; for a JWT-SVID, it signs 250 bytes. The `openssl` command is one ' +
      'process for each certificate, start included.',
    'From cold: the server is a process that has just started, with 2,000 entries, and audits and logs as by default. ' +
      'Half of the entries match one process, which asks for all of them on one stream; of the other half, 20 match each of 50 processes, ' +
      'which open 20 connections each, all at once. All callers are attested, and the 120 MB executable that they share ' +
      'is hashed once within the time. The clients write their requests byte by byte and decode nothing before the last ' +
      'answer has come. Server and clients share the cores.',
    'Memory: callers with one entry each in a process without connections, after garbage collection. Matching: entries ' +
      'as a fleet on Kubernetes has them, callers with a dozen selectors each. Entry change: one of 1,000 entries is ' +
      'changed through the admin API, which audits it and commits it to disk; the push comes on one of 20 streams. Any ' +
      'authority: our gRPC server alone, with and without the stage that serves any `:authority`.',
  ].join('\n\n'),
  aims: [
    ...['one_stream_workload_api', 'one_stream_sds', 'connections_workload_api', 'connections_sds'].map(
      (way) => ({ name: `cold_${way}_ms`, bound: 'at most', aim: COLD_LIMIT_MS }) as const,
    ),
    { name: 'match_100000_p50_us', bound: 'at most', aim: MATCH_LIMIT_US },
  ],
  run,
};

/** One after the other, since each wants the machine for itself. */
async function run(context: BenchmarkContext): Promise<readonly Figure[]> {
  return [
    ...(await measureSigning(context)),
    ...(await measureCold(context)),
    ...(await measureMemory(context)),
    ...measureMatching(context),
    ...(await measureEntryChange(context)),
    ...(await measureAnyAuthority(context)),
  ];
}

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
  notes: [
    'Where the time goes, by profiles of the server (`node --cpu-prof`). One stream with 1,000 identities is limited by ' +
      'signing: key, certificate and signature take about half of it, the hash of the executable a tenth, audit and log ' +
      'lines a tenth. A thousand connections are limited by the connections: attestation takes about a quarter (what the ' +
      'kernel and `/proc` say is read at accept, after attestation and before each secret), gRPC and HTTP/2 with the ' +
      'stage for any `:authority` a quarter, garbage collection a tenth, signing less than a tenth. All of it is on one ' +
      'thread. `_cpu_ms` beside `_ms` shows how much of a time was spent waiting for a processor that did something else.',
    'What profiles have changed so far: keys of SVIDs are encoded without the encoders of OpenSSL; new slots do not look ' +
      'at all others; Envoys that connect do not have the rotation looked at once for each; an executable that is known ' +
      'is not opened; as many connections as may be open can wait to be accepted, where with the default of 511 a client ' +
      'was refused and came back after its own pause.',
  ].join('\n\n'),
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

import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { distinctProcesses, measureDistinctChanges } from './sds/distinct-change.ts';
import { measureFirstService, measureIdle } from './sds/first-service.ts';
import { measureRotationBytes } from './sds/rotation-bytes.ts';
import { openScene } from './sds/scene.ts';
import { measureSharedChanges } from './sds/shared-change.ts';

/** Of spire-agent on such a machine: 1,000 streams first served. */
const FIRST_SERVICE_LIMIT_MS = 380;
const SHARED_LIMIT_MS = 50;
const DISTINCT_LIMIT_MS = 1500;
const RESIDENT_LIMIT_MB = 150;

export const sds: Benchmark = {
  name: 'sds',
  summary: 'from a change to the last of N streams, first service, memory of idle streams, bytes of a rotation',
  method: [
    'The server is a process of its own, with default settings but for the limits of one caller, and with its audit ' +
      'log, metrics and log lines. The clients are other processes, which write HTTP/2 and gRPC byte by byte, take the ' +
      'time when bytes arrive, and acknowledge after they have read all that there is; they decode nothing. Five streams ' +
      'with one name each share a connection, as those of an Envoy do: 1,000 streams are 200 Envoys. Every connection is ' +
      'attested. Server, clients and floor share the cores.',
    'A change is timed from before the call of the admin API, which audits it and commits it to disk, to its arrival on ' +
      'the last stream; the call alone, with nobody connected, stands beside it. Bundle change: the bundle of a federated ' +
      'trust domain is set to another root, and all streams ask for `ALL`. Shared entry: the DNS names of the entry that all ' +
      'streams share change, so that one SVID is signed. Distinct identities: each stream asks for an entry of its own; a caller is a connection made ' +
      'with a group of its own, with 5 entries (run by another user than root: a process with its own executable and 20 ' +
      'entries, and no 10,000); one import gives all entries another DNS name, so that as many keys are made and SVIDs signed. A percentile is one of repetitions, each of which is the time of ' +
      'its last stream. `pushes_not_needed` counts second pushes for one change, and all on 20 streams that a change is not about.',
    'The floor is @grpc/grpc-js alone on the same shapes of connections, in turn with the server in the same run: it ' +
      'answers each stream with the same bytes, and pushes them without attestation, versions, audit or logs; for ' +
      'distinct identities, it makes a key and signs 450 bytes for each stream.',
    'First service: all streams are opened at once, connections included, to a server that has served such callers ' +
      'before; `_cold` is the first of all after the start, with one reading of the 120 MB executable. Memory is what ' +
      'the kernel says is resident (VmRSS, which counts pages of Node that other processes share), of a server run from its TypeScript sources.',
  ].join('\n\n'),
  aims: [
    { name: 'bundle_change_1000_p99_ms', bound: 'at most', aim: SHARED_LIMIT_MS },
    { name: 'shared_entry_1000_p99_ms', bound: 'at most', aim: SHARED_LIMIT_MS },
    { name: 'distinct_1000_p99_ms', bound: 'at most', aim: DISTINCT_LIMIT_MS },
    { name: 'first_service_1000_ms', bound: 'at most', aim: FIRST_SERVICE_LIMIT_MS },
    { name: 'resident_1000_mb', bound: 'at most', aim: RESIDENT_LIMIT_MB },
  ],
  notes: [
    'Where the time goes, by profiles of the server (`node --cpu-prof`) at 1,000 streams. A bundle or a shared entry: a third ' +
      'is our loop over the streams, a tenth the look whether each process still runs what was attested, the rest HTTP/2 ' +
      'writes, their callbacks and garbage collection, whose longest pauses make the 99th percentile. Distinct identities: ' +
      'signing a sixth, garbage collection a sixth, audit and encoding a tenth. First service: HTTP/2 with the stage for any ' +
      '`:authority`, garbage collection, attestation.',
    'What profiles have changed so far: callers with the same selectors share one watch, so that a change is looked at once ' +
      'for all their streams; a process is looked at once in a turn for all streams of a connection; no error with a trace ' +
      'is made to wake somebody; pushes are debug lines; an executable is hashed through one buffer; bundles are compared by ' +
      'their bytes; a smaller young generation.',
    'Memory: most of it is there without a caller, `resident_alone_mb`, a part of it by Node stripping the types of sources, ' +
      'which the built package does not need. What streams hold is less than what their burst leaves behind as high-water ' +
      'mark; after they have ended the heap is as it was before.',
  ].join('\n\n'),
  run,
};

/** Memory first, while the server has done nothing else. */
async function run(context: BenchmarkContext): Promise<readonly Figure[]> {
  await using scene = await openScene(context, distinctProcesses(context.size));
  const figures = [
    ...(await measureIdle(scene)),
    ...(await measureFirstService(scene)),
    ...(await measureSharedChanges(scene)),
    ...(await measureRotationBytes(scene)),
    ...(await measureDistinctChanges(scene)),
  ];
  return [
    ...figures,
    { name: 'pushes_not_needed', value: scene.unneeded, meaning: 'in the whole run, on streams of all kinds' },
  ];
}

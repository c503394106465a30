import { authority } from './authority.ts';
import { authz } from './authz.ts';
import type { Benchmark } from './benchmark.ts';
import { issuance } from './issuance.ts';
import { offload } from './offload.ts';
import { replay } from './replay.ts';
import { restart } from './restart.ts';
import { revoke } from './revoke.ts';
import { sds } from './sds.ts';
import { transport } from './transport.ts';

/** Every benchmark, in the order of the list and of the document. */
export const BENCHMARKS: readonly Benchmark[] = [
  issuance,
  sds,
  authz,
  offload,
  revoke,
  replay,
  restart,
  authority,
  transport,
];

import { cpus } from 'node:os';
import type { Benchmark, BenchmarkContext, Figure } from './benchmark.ts';
import { pushFigures } from './offload/push.ts';
import { requestFigures } from './offload/through-envoy.ts';

export const offload: Benchmark = {
  name: 'offload',
  summary:
    'requests that Envoy answers by rules of svidgate, beside rules written by hand and calls of svidgate and of OPA',
  method: [
    'The Envoy of `envoy-examples/offload` on a processor of its own, with one worker, and with a copy of its listener for each: ' +
      '`plain` lets everything through; `native` has an RBAC filter written by hand; `offloaded` has the rules that svidgate ' +
      'makes of its policy; `call` asks svidgate about each request, `opa` OPA itself as a Go module on grpc-go ' +
      '(`bench/peers/opa-ext-authz`). Load and servers share the other processor. All listeners are mTLS with svidgate’s SVIDs; the ' +
      'requests come over 32 connections from a Go program, must all be allowed, and are about the last of 20 rows of a ' +
      'table of services, SPIFFE IDs and methods, which is the same for all; Envoy answers them itself. Rounds take turns.',
    'Recording is on: svidgate keeps a decision log, which has what it was asked, and what `offloaded` sends to its access log ' +
      'service. `plain`, `native` and `opa` send it the same entries of all requests, which svidgate reads and ignores; OPA itself ' +
      'records nothing.',
    '`push`: a Rego file of 1,000 rules is replaced by one that differs in a rule. The time goes from the end of the ' +
      'write to the arrival of the new rules on the last of 100 streams, each of a connection of its own. `revoke`: from the ' +
      'call of the admin API that revokes a SPIFFE ID of one of these rules to the arrival of the rules without it, on the last stream.',
  ].join('\n\n'),
  aims: [
    { name: 'offloaded_vs_native', bound: 'at least', aim: 0.9 },
    { name: 'offloaded_vs_opa', bound: 'at least', aim: 5 },
    { name: 'push_p50_ms', bound: 'at most', aim: 500 },
  ],
  run,
};

async function run(context: BenchmarkContext): Promise<readonly Figure[]> {
  if (cpus().length < 2) throw new Error('needs two processors: one for Envoy, one for the servers and the load');
  return [...(await requestFigures(context)), ...(await pushFigures(context))];
}

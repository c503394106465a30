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
  notes: [
    'What an offloaded request costs Envoy more than rules by hand, in processor time of Envoy 1.40 with parts of the listener left ' +
      'out: ext_authz passed over 5 to 7 µs, as it is made and taken down for each request, and looks up its gRPC client by its ' +
      'configuration; the rules 3 to 4 µs, of which 2 are what the gate would refuse before it asks the policy; the longer log ' +
      'entry 3 to 4 µs, as Envoy copies into it what the filters said. Tried for it: ext_authz within a composite filter, which the ' +
      'match leaves out (1.4 to 4.5 µs less, and one more filter that has to fail closed: not taken); fewer fields in the ' +
      'configuration of ext_authz, fewer logged headers, other sizes of buffers (nothing, or less than 2 µs); other URI SANs looked for by ' +
      '`mtls_authenticated` instead of `authenticated` (4 µs less: taken), guards in fewer matchers (2 µs less: taken).',
    'The other half of the difference is the second processor: the records are made beside the load. One took svidgate 52 µs ' +
      'of processor time here, and takes 40: what records of one rule have in common goes to the recording thread once, of an entry only ' +
      'what a record is made of is decoded, and what our filters said is read once for all requests that met the same rule. ' +
      'Of the rest, a third is the main thread, which bounds, scans and hands over, and two thirds are masking, JSON and the disk.',
    'A push waits for two runs of OPA in WASI at the same time, the compiler and the partial evaluator, which take 1 to 1.5 s each alone for ' +
      '1,000 rules, six times as long as the same code natively (0.3 and 0.2 s); V8’s optimizer on all of it does not change that, nor does ' +
      'more room for Go’s garbage collector. It was 4.1 s: modules are compiled once for each purpose, a policy is translated while it ' +
      'compiles, and answers are put together from what is encoded already. What is left beside is some 0.3 s to encode and to send ' +
      '1.2 MB to each of 100 streams, 8 MiB in each turn of the event loop, so that decisions go on meanwhile. A revocation sends as ' +
      'much; with few rules it is ' +
      'on the last stream in milliseconds. To push in less than half a second, rules that did not change would ' +
      'have to be known without OPA.',
  ].join('\n\n'),
  run,
};

async function run(context: BenchmarkContext): Promise<readonly Figure[]> {
  if (cpus().length < 2) throw new Error('needs two processors: one for Envoy, one for the servers and the load');
  return [...(await requestFigures(context)), ...(await pushFigures(context))];
}

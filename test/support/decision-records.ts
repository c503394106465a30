import { recordedPaths, type DecisionRecord } from '../../src/evidence/index.ts';
import type { OpenedPolicy } from '../../src/policy/index.ts';

export type RecordedContext = DecisionRecord['svidgate'];

/** What a test says about a record beyond what the policy gives. */
export type RecordParts = Partial<Omit<DecisionRecord, 'svidgate'>> & { readonly svidgate?: Partial<RecordedContext> };

/** Makes the record of a decision that the policy makes now, of an input that has nothing but what it can look at. */
export async function recordOf(policy: OpenedPolicy, input: object, parts: RecordParts = {}): Promise<DecisionRecord> {
  const evaluation = await policy.evaluate(new TextEncoder().encode(JSON.stringify(input)));
  const value = evaluation.kind === 'value' ? evaluation.value : undefined;
  const isAllowed =
    value === true || (typeof value === 'object' && value !== null && 'allowed' in value && value.allowed === true);
  const nd = 'nd' in evaluation && evaluation.nd !== undefined ? evaluation.nd : undefined;
  const failure = evaluation.kind === 'undefined' ? 'undefined_decision' : 'evaluation_error';
  return decisionRecord({
    input: input as DecisionRecord['input'] & object,
    ...(value === undefined ? { error: { message: failure } } : { result: value }),
    ...(nd === undefined ? {} : { nd_builtin_cache: parseAnswers(nd) }),
    ...parts,
    svidgate: {
      policy_digest: policy.digest,
      recorded: recordedPaths(policy.needs),
      ...(value === undefined
        ? { outcome: 'failure', reason: failure, http_status: 403 }
        : isAllowed
          ? {}
          : { outcome: 'deny', reason: 'policy_denied', http_status: 403 }),
      ...parts.svidgate,
    },
  });
}

const { rawJSON: rawJson } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

let next = 0;

/** An allow of the default policy, by a caller who is known. */
export function decisionRecord({ svidgate, ...parts }: RecordParts = {}): DecisionRecord {
  next += 1;
  return {
    labels: {},
    decision_id: `decision-${next}`,
    path: 'envoy/authz/allow',
    metrics: { timer_server_handler_ns: 1000 },
    timestamp: '2026-11-22T10:00:00.000000000Z',
    req_id: next,
    ...parts,
    svidgate: {
      policy: 'default',
      outcome: 'allow',
      reason: '',
      http_status: 0,
      principal: 'spiffe://example.test/web',
      caller: 'attested',
      listener: 'gate',
      method: 'GET',
      route: 'orders.test/orders',
      cached: false,
      replayable: true,
      ...svidgate,
    },
  };
}

function parseAnswers(
  nd: Readonly<Record<string, Readonly<Record<string, string>>>>,
): DecisionRecord['nd_builtin_cache'] & object {
  return Object.fromEntries(
    Object.entries(nd).map(([name, calls]) => [
      name,
      Object.fromEntries(Object.entries(calls).map(([call, text]) => [call, rawJson(text)])),
    ]),
  );
}

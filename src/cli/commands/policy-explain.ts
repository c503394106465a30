import { SvidgateError, systemClock } from '../../core/index.ts';
import { createPolicySnapshots } from '../../datastore/index.ts';
import { recordedEvaluation, type DecisionRecord } from '../../evidence/index.ts';
import { createPolicyTools, readKeptSnapshot, type PolicySnapshot, type PolicyTools } from '../../policy/index.ts';
import { wrongUsage } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { ExplainFlags, ToolOptions } from '../groups/policy-tools.ts';
import { explanationJson, formatExplanation } from '../policy-explain-view.ts';
import { placeOf, printRefused } from '../policy-problems.ts';
import { findDecision } from '../recorded-decision.ts';
import { configOf } from '../server-address.ts';

type Options = ExplainFlags & ToolOptions;

const DEFAULT_ENTRYPOINT = 'envoy/authz/allow';

/** `policy explain` */
export async function explainDecision(id: string, options: Options): Promise<ExitCode> {
  const { output, terminal } = options;
  const { signal } = new AbortController();
  const record = await findDecision(id, options);
  const recorded = recordedEvaluation(record);
  if (recorded === undefined) {
    const { outcome, reason } = record.svidgate;
    throw new SvidgateError('not_found', `no policy was asked for decision ${id}: ${outcome}, ${reason}`);
  }
  const tools = createPolicyTools({ clock: systemClock });
  const { snapshot, path } = await findPolicy(tools, record, { ...options, signal });
  const entrypoint = options.entrypoint ?? record.path ?? DEFAULT_ENTRYPOINT;
  const explained = await tools.explain(snapshot.files, { ...recorded, entrypoint, signal });
  if (explained.kind === 'refused') return printRefused(path ?? '', explained, options);
  const { explanation } = explained;
  const shown = {
    record,
    explanation,
    digest: snapshot.digest,
    placeOf: (file: string) => (path === undefined ? file : placeOf(path, { file })),
    notes: notesOn(record, { digest: snapshot.digest, outcome: explanation.outcome, masked: recorded.masked }),
  };
  terminal.out(output === 'json' ? `${JSON.stringify(explanationJson(shown))}\n` : formatExplanation(shown));
  return EXIT.done;
}

interface FoundPolicy {
  readonly snapshot: PolicySnapshot;
  /** Absent when the files are those that were kept. */
  readonly path?: string;
}

/** The one that was named, else the files that decided, else the ones that are configured now. */
async function findPolicy(
  tools: PolicyTools,
  { svidgate }: DecisionRecord,
  { policy, config: file, signal }: Options & { readonly signal: AbortSignal },
): Promise<FoundPolicy> {
  if (policy !== undefined) return { snapshot: await tools.source(policy).read(signal), path: policy };
  if (file === undefined)
    throw wrongUsage('which policy? Name it with --policy PATH, or the configuration with --config FILE');
  const { dataDir, authz } = await configOf({ config: file });
  const { policy: name, policy_digest: digest } = svidgate;
  if (digest !== undefined) {
    const kept = createPolicySnapshots({ path: dataDir, close: () => Promise.resolve() }, { policies: [name] });
    const snapshot = await readKeptSnapshot(kept, name, digest);
    if (snapshot !== undefined) return { snapshot };
  }
  const path = authz?.policies.get(name)?.path;
  if (path === undefined) {
    throw new SvidgateError(
      'not_found',
      `the files of policy ${name} are not kept any more, and it has no path: use --policy`,
    );
  }
  return { snapshot: await tools.source(path).read(signal), path };
}

/** What keeps the answer from being about the decision as it was. */
function notesOn(
  { svidgate, result, error }: DecisionRecord,
  now: { readonly digest: string; readonly outcome: string; readonly masked: readonly string[] },
): readonly string[] {
  const { policy_digest: digest, replayable, unreplayable = [] } = svidgate;
  const then = answerOf(result, error);
  const missing = unreplayable.length === 0 ? '' : `: ${unreplayable.join(', ')}`;
  return [
    ...(digest === undefined || digest === now.digest
      ? []
      : [`the policy is another one: ${now.digest.slice(0, 12)}, and ${digest.slice(0, 12)} decided`]),
    ...(replayable ? [] : [`the record does not have all that the policy looked at${missing}`]),
    ...(then === now.outcome
      ? []
      : [`the policy answered ${then} then, and answers ${now.outcome} to what the record has`]),
  ];
}

function answerOf(result: unknown, error: unknown): string {
  if (error !== undefined) return 'error';
  if (result === undefined) return 'undefined';
  const isAllowed =
    result === true ||
    (typeof result === 'object' && result !== null && 'allowed' in result && result.allowed === true);
  return isAllowed ? 'allow' : 'deny';
}

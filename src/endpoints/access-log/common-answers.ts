import type { CommonFacts } from '../../evidence/index.ts';
import type { OffloadOrigin } from '../../offload/index.ts';
import type { PolicyRecording } from '../../policy/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import type { PolicyRecordings } from './policy-recordings.ts';
import type { LoggedDecision } from './scan-entry.ts';

/** Of all callers and rules; what a caller can name is a rule that it was given. */
const MAX_KNOWN = 4096;
const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();

interface Known {
  /** What it was made of. */
  readonly ids: readonly SpiffeId[];
  readonly digest: string | undefined;
  readonly origin: OffloadOrigin['origin'] | undefined;
  readonly peer: OffloadOrigin['peer'] | undefined;
  readonly recording: PolicyRecording | undefined;
  readonly logRules: PolicyRecording['logRules'];
  readonly common: CommonFacts;
}

/** What records of the same rule and caller have in common: one object for as long as nothing of it changes. */
export class CommonAnswers {
  readonly #recordings: PolicyRecordings;
  readonly #known = new Map<string, Known>();
  /** What each decision, which is the same object most of the time, was made into last. */
  readonly #last = new Map<LoggedDecision, Known>();

  constructor(recordings: PolicyRecordings) {
    this.#recordings = recordings;
  }

  /**
   * @param ids of the caller
   * @param origin of the rule that allowed it
   */
  of(decision: LoggedDecision, ids: readonly SpiffeId[], origin: OffloadOrigin | undefined): CommonFacts {
    const { policy, outcome, rule = '' } = decision;
    const digest = origin?.policyDigest;
    const recording = digest === undefined ? undefined : this.#recordings.of(policy, digest);
    // Of what is not known to be by another policy, the one in force says whether it is recorded.
    const { logRules } = recording ?? this.#recordings.inForce(policy) ?? {};
    const sources = { origin, recording, logRules };
    const last = this.#last.get(decision);
    if (last !== undefined && isMadeOf(last, ids, sources)) return last.common;
    // No part but the last may have a space in it.
    const key = `${outcome} ${digest ?? ''} ${policy} ${ids.join(' ')} ${rule}`;
    let known = this.#known.get(key);
    if (known === undefined || !isMadeOf(known, ids, sources)) {
      const common = commonFacts(decision, ids, sources);
      known = { ids, digest, origin: origin?.origin, peer: origin?.peer, recording, logRules, common };
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(key, known);
    }
    if (this.#last.size >= MAX_KNOWN) this.#last.clear();
    this.#last.set(decision, known);
    return known.common;
  }
}

function isMadeOf(known: Known, ids: readonly SpiffeId[], { origin, recording, logRules }: Sources): boolean {
  return (
    known.origin === origin?.origin &&
    known.digest === origin?.policyDigest &&
    known.peer === origin?.peer &&
    known.recording === recording &&
    known.logRules === logRules &&
    known.ids.length === ids.length &&
    known.ids.every((id, index) => id === ids[index])
  );
}

interface Sources {
  readonly origin: OffloadOrigin | undefined;
  readonly recording: PolicyRecording | undefined;
  readonly logRules: PolicyRecording['logRules'];
}

function commonFacts(
  { policy, outcome, rule }: LoggedDecision,
  ids: readonly SpiffeId[],
  { origin, recording, logRules }: Sources,
): CommonFacts {
  const { needs = NOTHING, entrypoint = '', revision } = recording ?? {};
  const digest = origin?.policyDigest;
  return {
    policy,
    outcome,
    durationNs: 0,
    reason: outcome === 'allow' ? '' : 'policy_denied',
    httpStatus: outcome === 'allow' ? 0 : 403,
    caller: 'attested',
    callerIds: ids,
    listener: '',
    ...(digest === undefined ? {} : { digest }),
    offloaded: {
      ...(rule === undefined ? {} : { rule }),
      origin: origin?.origin ?? [],
      verifiesPeer: origin?.peer === 'peers',
      knowsPolicy: recording !== undefined,
    },
    evaluated: {
      needs,
      value: true,
      cached: false,
      entrypoint,
      ...(revision === undefined ? {} : { revision }),
      ...(logRules === undefined ? {} : { logRules }),
    },
  };
}

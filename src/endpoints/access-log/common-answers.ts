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
    // No part but the last may have a space in it.
    const key = `${outcome} ${digest ?? ''} ${policy} ${ids.join(' ')} ${rule}`;
    const known = this.#known.get(key);
    if (
      known !== undefined &&
      known.origin === origin?.origin &&
      known.peer === origin?.peer &&
      known.recording === recording &&
      known.logRules === logRules
    ) {
      return known.common;
    }
    const common = commonFacts(decision, ids, { origin, recording, logRules });
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, { origin: origin?.origin, peer: origin?.peer, recording, logRules, common });
    return common;
  }
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

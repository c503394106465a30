import type { PolicyRecording } from '../../policy/index.ts';

const MAX_KEPT = 64;

/** What records of decisions by a snapshot follow, also for some time after another one came into force. */
export class PolicyRecordings {
  readonly #now: (policy: string) => PolicyRecording | undefined;
  readonly #kept = new Map<string, PolicyRecording>();
  /** What was asked for last, as it is in `kept`. */
  #last: { readonly policy: string; readonly recording: PolicyRecording } | undefined;

  constructor(now: (policy: string) => PolicyRecording | undefined) {
    this.#now = now;
  }

  /** Undefined when it is gone. */
  of(policy: string, digest: string): PolicyRecording | undefined {
    if (this.#last?.policy === policy && this.#last.recording.digest === digest) return this.#last.recording;
    const key = `${policy} ${digest}`;
    if (!this.#kept.has(key)) this.keep(policy);
    const recording = this.#kept.get(key);
    if (recording !== undefined) this.#last = { policy, recording };
    return recording;
  }

  /** Undefined while none is. */
  inForce(policy: string): PolicyRecording | undefined {
    return this.#now(policy);
  }

  /** What is in force now. */
  keep(policy: string): void {
    const now = this.#now(policy);
    if (now === undefined) return;
    this.#last = undefined;
    this.#kept.set(`${policy} ${now.digest}`, now);
    const [oldest = ''] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(oldest);
  }
}

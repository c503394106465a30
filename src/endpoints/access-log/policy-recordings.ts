import type { PolicyRecording } from '../../policy/index.ts';

const MAX_KEPT = 64;

/** What records of decisions by a snapshot follow, also for some time after another one came into force. */
export class PolicyRecordings {
  readonly #now: (policy: string) => PolicyRecording | undefined;
  readonly #kept = new Map<string, PolicyRecording>();

  constructor(now: (policy: string) => PolicyRecording | undefined) {
    this.#now = now;
  }

  /** Undefined when it is gone. */
  of(policy: string, digest: string): PolicyRecording | undefined {
    const key = `${policy} ${digest}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    this.keep(policy);
    return this.#kept.get(key);
  }

  /** Undefined while none is. */
  inForce(policy: string): PolicyRecording | undefined {
    return this.#now(policy);
  }

  /** What is in force now. */
  keep(policy: string): void {
    const now = this.#now(policy);
    if (now === undefined) return;
    this.#kept.set(`${policy} ${now.digest}`, now);
    const [oldest = ''] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(oldest);
  }
}

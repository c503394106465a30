import { Watchable, type ReadonlyWatchable } from '../../core/index.ts';
import { DecisionCache } from '../decision-cache.ts';
import type { Evaluator } from '../evaluator.ts';
import type { InputNeeds } from '../input-needs.ts';
import type { PolicyData } from '../policy-data.ts';
import type { LoadedPolicy } from '../policy-loader.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';

export interface ActivePolicy {
  readonly evaluator: Evaluator;
  /** What of the input it can look at. */
  readonly needs: InputNeeds;
  /** Absent when its answers depend on more than its input. */
  readonly decisions?: DecisionCache;
  readonly digest: string;
  readonly revision?: string;
  readonly signedBy?: string;
  /** JSON text of the base documents. */
  readonly data: Uint8Array;
  readonly activatedAt: number;
}

/** The files of a policy, for those who read more in them than its decisions. */
export interface LiveSnapshots {
  /** What decides now; undefined while nothing does. */
  readonly inForce?: PolicySnapshot;
  /** Compiles, and is tried: it may be in force soon. */
  readonly candidate?: PolicySnapshot;
}

/** What decides now, and what decided before until its last call has ended. */
export class PolicySlot {
  readonly #snapshots = new Watchable<LiveSnapshots>({});
  readonly #showsSnapshots: boolean;
  readonly #draining = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #active: ActivePolicy | undefined;
  #data: Watchable<PolicyData> | undefined;

  constructor({ showsSnapshots = false }: { readonly showsSnapshots?: boolean | undefined } = {}) {
    this.#showsSnapshots = showsSnapshots;
  }

  /** Told before anything is decided by what it names. Empty unless it was asked for: files can be large. */
  get snapshots(): ReadonlyWatchable<LiveSnapshots> {
    return this.#snapshots;
  }

  get active(): ActivePolicy | undefined {
    return this.#active;
  }

  /** What is in force. It is parsed only once somebody has asked for it: it can be large. */
  get data(): ReadonlyWatchable<PolicyData> {
    this.#data ??= new Watchable(parseData(this.#active?.data));
    return this.#data;
  }

  /** From here on it decides; calls begun on the old one end on it. Once closed, it is closed at once. */
  put({ evaluator, data, needs, isPure }: LoadedPolicy, snapshot: PolicySnapshot, now: number): void {
    if (this.#closing.signal.aborted) return void evaluator.close();
    const { digest, revision, signedBy } = snapshot;
    const old = this.#active;
    this.#active = {
      evaluator,
      needs,
      ...(isPure ? { decisions: new DecisionCache() } : {}),
      digest,
      ...(revision === undefined ? {} : { revision }),
      ...(signedBy === undefined ? {} : { signedBy }),
      data,
      activatedAt: now,
    };
    if (this.#showsSnapshots) this.#snapshots.set({ inForce: snapshot });
    if (old !== undefined) this.#drain(old.evaluator);
    if (old === undefined || Buffer.compare(old.data, data) !== 0) this.#data?.set(parseData(data));
  }

  /** It compiles, and may be put soon; undefined: it is not, after all. */
  announce(candidate: PolicySnapshot | undefined): void {
    if (!this.#showsSnapshots) return;
    const { inForce } = this.#snapshots.value;
    this.#snapshots.set({
      ...(inForce === undefined ? {} : { inForce }),
      ...(candidate === undefined ? {} : { candidate }),
    });
  }

  /** Ends the threads at once; open calls get an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    const active = this.#active;
    this.#active = undefined;
    this.#snapshots.set({});
    await Promise.all([active?.evaluator.close(), ...this.#draining]);
  }

  #drain(evaluator: Evaluator): void {
    const stop = (): void => void evaluator.close();
    this.#closing.signal.addEventListener('abort', stop);
    const drained = evaluator.drain().finally(() => {
      this.#closing.signal.removeEventListener('abort', stop);
      this.#draining.delete(drained);
    });
    this.#draining.add(drained);
  }
}

/** The text is the compiler's own. */
function parseData(text: Uint8Array | undefined): PolicyData {
  if (text === undefined) return { kind: 'pending' };
  return { kind: 'known', data: JSON.parse(new TextDecoder().decode(text)) as unknown };
}

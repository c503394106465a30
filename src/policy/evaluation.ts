/** How one evaluation of a policy ended. */
export type Evaluation =
  /** The entrypoint has a value: any JSON. */
  | {
      readonly kind: 'value';
      readonly value: unknown;
      readonly nd?: NdBuiltinCache;
      readonly ndLost?: readonly string[];
    }
  /** No rule of the entrypoint gave a value. */
  | { readonly kind: 'undefined'; readonly nd?: NdBuiltinCache; readonly ndLost?: readonly string[] }
  /** Rego or the thread failed. */
  | {
      readonly kind: 'error';
      readonly message: string;
      /** What it got so far. */
      readonly nd?: NdBuiltinCache;
      /** Names of builtins of which `nd` lacks some answer. */
      readonly ndLost?: readonly string[];
    }
  /** The deadline passed first. */
  | { readonly kind: 'timeout' }
  /** The queue was full. */
  | { readonly kind: 'overloaded' }
  /** The caller's signal was aborted first. */
  | { readonly kind: 'canceled' };

/**
 * What builtins answered that depend on more than their arguments, as in OPA's decision logs: by the builtin's name and the JSON
 * text of its arguments, the JSON text of the answer, whose numbers are exact; empty for a call that was undefined. Of what
 * depends on the time alone it has `time.now_ns`.
 */
export type NdBuiltinCache = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface EvaluationOptions {
  /** Milliseconds since the epoch; the call settles by then. */
  readonly deadline: number;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
  /**
   * Answers that builtins gave before: the evaluation is made again with exactly these, and asks neither the clock nor chance
   * nor the network. A call that is not among them ends it as an error.
   */
  readonly nd?: NdBuiltinCache;
}

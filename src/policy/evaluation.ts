/** How one evaluation of a policy ended. */
export type Evaluation =
  /** The entrypoint has a value: any JSON. */
  | { readonly kind: 'value'; readonly value: unknown }
  /** No rule of the entrypoint gave a value. */
  | { readonly kind: 'undefined' }
  /** Rego or the thread failed. */
  | { readonly kind: 'error'; readonly message: string }
  /** The deadline passed first. */
  | { readonly kind: 'timeout' }
  /** The queue was full. */
  | { readonly kind: 'overloaded' }
  /** The caller's signal was aborted first. */
  | { readonly kind: 'canceled' };

export interface EvaluationOptions {
  /** Milliseconds since the epoch; the call settles by then. */
  readonly deadline: number;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
}

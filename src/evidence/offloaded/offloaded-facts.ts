import type { GrantRule } from '../../policy/index.ts';

/** What is known of a request that Envoy answered by itself, beside its entry in the access log. */
export interface OffloadedFacts {
  /** The rule of Envoy's that allowed it; absent where Envoy refused it, since no rule did not. */
  readonly rule?: string;
  /** What that rule stands for. */
  readonly origin: readonly GrantRule[];
  /** Whether the rule asked for a peer whose certificate Envoy verified. */
  readonly verifiesPeer: boolean;
  /** Whether the snapshot that the rule was made from is known: what it could look at, and its say on records. */
  readonly knowsPolicy: boolean;
}

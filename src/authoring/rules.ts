/** Who may call what, as a rules file says it. Everything that no rule allows is denied, and a rule that denies counts more. */
export interface RuleSet {
  /** Rego package with dots; its `allow` decides. */
  readonly package: string;
  readonly rules: readonly Rule[];
}

export interface Rule {
  /** Unique in the file. */
  readonly name: string;
  readonly action: 'allow' | 'deny';
  /** One of them has to fit. */
  readonly from: readonly [RuleSubject, ...RuleSubject[]];
  /** One of them has to fit; empty: any request. */
  readonly to: readonly RuleTarget[];
  /** All of them have to hold. */
  readonly when: readonly RuleCondition[];
}

/** Who asks. Of each list one has to fit, and none of those that begin with `not`. */
export type RuleSubject =
  /** Also who nobody verified. */
  | { readonly kind: 'anyone' }
  /** Whom nobody verified; in a rule that denies only. */
  | { readonly kind: 'unverified' }
  | {
      readonly kind: 'peer';
      /** Whether it has to be verified though no list says who: lists that say who always ask for it. */
      readonly isVerified: boolean;
      readonly spiffeIds: readonly string[];
      readonly notSpiffeIds: readonly string[];
      readonly trustDomains: readonly string[];
      readonly notTrustDomains: readonly string[];
    };

/** What is asked for. An empty list asks for nothing. */
export interface RuleTarget {
  readonly methods: readonly string[];
  readonly notMethods: readonly string[];
  /** `/orders`, `/orders/*` for one more segment, `/orders/**` for any rest. */
  readonly paths: readonly string[];
  readonly notPaths: readonly string[];
  /** Lower case, without a port; `*.acme.test` for all names beneath. */
  readonly hosts: readonly string[];
  readonly notHosts: readonly string[];
}

/** A value of the request, and what it has to be. */
export interface RuleCondition {
  readonly of:
    | { readonly kind: 'header'; /** Lower case. */ readonly name: string }
    /** Of the one token, verified, of this provider. */
    | { readonly kind: 'claim'; readonly provider: string; readonly path: readonly string[] }
    /** The one token itself; its test is `present`: whether it is verified. */
    | { readonly kind: 'token' };
  readonly test:
    | { readonly kind: 'in' | 'not_in'; readonly values: readonly string[] }
    | { readonly kind: 'prefix' | 'suffix'; readonly text: string }
    | { readonly kind: 'present'; readonly isPresent: boolean };
}

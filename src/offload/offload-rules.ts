import type { GrantRule } from '../policy/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';

/** How a text is compared, case and all. `regex` is RE2 for the whole text. */
export type TextMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix' | 'contains'; readonly text: string }
  | { readonly kind: 'regex'; readonly regex: string };

/**
 * What Envoy knows of a request, as its RBAC filter can ask for it. `all` and `any` have members: Envoy reads an empty list as
 * anything, so that nothing here may become one.
 */
export type RequestMatch =
  | { readonly kind: 'always' }
  | { readonly kind: 'all' | 'any'; readonly of: readonly [RequestMatch, ...RequestMatch[]] }
  | { readonly kind: 'not'; readonly of: RequestMatch }
  /** By its lower-case name, also `:method`, `:path`, `:authority`. Several of a name are one, joined by `,`. A missing one matches nothing. */
  | { readonly kind: 'header'; readonly name: string; readonly match: TextMatch | 'present' }
  /** The path without its query and fragment. */
  | { readonly kind: 'path'; readonly match: TextMatch }
  | { readonly kind: 'destination_port'; readonly from: number; /** Inclusive. */ readonly to: number }
  /** CIDR. */
  | { readonly kind: 'destination_ip'; readonly address: string; readonly prefixLength: number }
  /** SNI. */
  | { readonly kind: 'server_name'; readonly match: TextMatch };

/**
 * From whom: peers with a certificate that Envoy verified and that has this one URI SAN and no other; or anyone, also without
 * a certificate. `except` never matches, in whatever way it is presented.
 */
export type PeerMatch =
  | { readonly kind: 'peers'; readonly of: readonly [TextMatch, ...TextMatch[]]; readonly except: readonly TextMatch[] }
  | {
      readonly kind: 'anyone';
      readonly except: readonly TextMatch[];
      /** Nobody who shows a certificate, as far as Envoy can be told: one that is verified, or has any name. */
      readonly withoutCertificate?: true;
    };

/** A header that is not one of `:method`, `:path` and the like, as the gate sees it: several of a name are one, joined by `,`. */
export interface HeaderTest {
  /** In lower case. */
  readonly name: string;
  /** A missing header is none of them. */
  readonly oneOf: readonly [string, ...string[]];
}

/** One policy of Envoy's RBAC: a request matches it where both parts do, and all tests of headers hold. */
export interface OffloadRule {
  /** Also the name of the policy in Envoy. Never used again for other content: recorded decisions name it. */
  readonly id: string;
  readonly request: RequestMatch;
  readonly peer: PeerMatch;
  /**
   * Exact values, by CEL: Envoy's matchers take each of several headers of a name by itself in some versions (from 1.38), and all
   * together in others.
   */
  readonly headers?: readonly [HeaderTest, ...HeaderTest[]];
  /** The Rego rules that it stands for, those of the entrypoint first. */
  readonly origin: readonly GrantRule[];
}

/** What one kind of caller is sent for one policy: what is allowed without a call. Nothing, when there are no rules. */
export interface OffloadSet {
  /** Name of the policy. */
  readonly policy: string;
  /** Of the snapshot that it was made from; empty where there is none. */
  readonly policyDigest: string;
  readonly allow: readonly OffloadRule[];
  /**
   * What may be allowed by whoever decides: a request that matches none of them is denied for everyone, and Envoy may refuse it
   * by itself. Absent: unknown, and Envoy refuses nothing.
   */
  readonly outer?: readonly OffloadRule[];
}

/** Of the set of one policy, to one who asks with these SPIFFE IDs. */
export interface OffloadKey {
  readonly policy: string;
  readonly callerIds: readonly SpiffeId[];
}

/** Names that Envoy's configuration and ours have to agree on; docs/offload.md. */
export const OFFLOAD_NAMES = {
  /** Of the resource, which is the name of the RBAC filter, too. */
  resource: (policy: string): string => `svidgate.offload.${policy}`,
  /** `shadow_rules_stat_prefix`. */
  shadowPrefix: (policy: string): string => `svidgate_${policy}_`,
  /** `rules_stat_prefix`. */
  rulesPrefix: (policy: string): string => `svidgate_${policy}_`,
  /** In the metadata of the RBAC filter: `allowed` where no call is needed. */
  resultKey: (policy: string): string => `svidgate_${policy}_shadow_engine_result`,
  ruleKey: (policy: string): string => `svidgate_${policy}_shadow_effective_policy_id`,
  metadataNamespace: 'envoy.filters.http.rbac',
} as const;

/** The policy whose set a resource name asks for; undefined for a name of something else. */
export function policyOfResource(name: string): string | undefined {
  const prefix = OFFLOAD_NAMES.resource('');
  return name.startsWith(prefix) && name.length > prefix.length ? name.slice(prefix.length) : undefined;
}

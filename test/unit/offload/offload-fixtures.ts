import type {
  OffloadRule,
  PeerMatch,
  TextMatch,
  TranslatedPolicy,
  TranslatedRule,
} from '../../../src/offload/index.ts';
import type { PeerFacts } from '../../../src/offload/index.ts';
import { parseTrustDomain } from '../../../src/spiffe/index.ts';

export const OWN = parseTrustDomain('td.test');
export const FOREIGN = parseTrustDomain('other.test');

export const exact = (text: string): TextMatch => ({ kind: 'exact', text });
export const prefix = (text: string): TextMatch => ({ kind: 'prefix', text });

export function peers(...of: readonly [TextMatch, ...TextMatch[]]): PeerMatch {
  return { kind: 'peers', of, except: [] };
}

export function rule(id: string, peer: PeerMatch, more: Partial<TranslatedRule> = {}): TranslatedRule {
  return { id, request: { kind: 'always' }, peer, origin: [], ...more };
}

export function translated(
  rules: readonly TranslatedRule[],
  more: Partial<TranslatedPolicy> & { readonly outer?: readonly OffloadRule[] } = {},
): TranslatedPolicy {
  return {
    policy: 'default',
    digest: 'd1',
    rules,
    left: [],
    ways: { all: rules.length, offloaded: rules.length },
    ...more,
  };
}

/** Nobody is revoked, and both trust domains are known. */
export function facts(more: Partial<PeerFacts> = {}): PeerFacts {
  return {
    revokedIds: new Set(),
    revokedCallerIds: new Set(),
    trustDomains: new Set([OWN, FOREIGN]),
    ...more,
  };
}

import type { KnownPeers } from './known-peers.ts';
import { holdsForCaller, matchesText, type TranslatedPolicy, type TranslatedRule } from './translated-policy.ts';
import { isSpiffeId, trustDomainOf, type SpiffeId, type TrustDomain } from '../spiffe/index.ts';
import type { OffloadRule, OffloadSet, PeerMatch, TextMatch } from './offload-rules.ts';
import { hasOpenPeers, toldPeers } from './told-peers.ts';

/** What the gate knows of peers and policies do not: whom it denies whatever a policy says. */
export interface PeerFacts {
  /** SPIFFE IDs that are revoked, or of which a serial is. */
  readonly revokedIds: ReadonlySet<string>;
  /** Those that are revoked themselves: nobody acts in their name. */
  readonly revokedCallerIds: ReadonlySet<string>;
  /** Set where the gate denies somebody that no rule can name; nothing is offloaded then. In words. */
  readonly obstacle?: string;
  /** Trust domains whose certificates are verified now. */
  readonly trustDomains: ReadonlySet<TrustDomain>;
  /** Where peers of a trust domain have to be in an entry. */
  readonly registered?: { readonly trustDomain: TrustDomain; has(id: SpiffeId): boolean };
  /** Who has an entry: those of them that a rule matches by a part of their ID are told one by one. Default: nobody is. */
  readonly known?: KnownPeers;
}

/** The rules of one policy that hold for these facts. */
export interface RestrictedPolicy {
  readonly translated: TranslatedPolicy;
  readonly rules: readonly RestrictedRule[];
  /** How many rules are left to the call because of the facts. */
  readonly withheld: number;
  /** How many rules match more peers by a part of their ID than can be told one by one, which are left to the call. */
  readonly crowded: number;
  /** How many match them by what is too costly to look for, which are left to the call, too. */
  readonly costly: number;
  /** That it was made for, without who has an entry. */
  readonly facts: Omit<PeerFacts, 'known'>;
}

interface RestrictedRule {
  readonly from: TranslatedRule;
  readonly rule: OffloadRule;
}

/** IDs that one rule may leave out; where more are revoked, it is left to the call. */
const MAX_EXCEPT = 500;

/**
 * Leaves out whom the gate would deny, and what cannot be said so. A rule that stays as it was is the same object as in
 * `before`, so that what did not change is told from what did.
 */
export function restrict(translated: TranslatedPolicy, facts: PeerFacts, before?: RestrictedPolicy): RestrictedPolicy {
  if (before?.translated === translated && isNewsOfEntriesAlone(before.facts, facts) && !hasOpenPeers(translated)) {
    return before;
  }
  const last = new Map(before?.translated === translated ? before.rules.map((each) => [each.from, each.rule]) : []);
  const rules: RestrictedRule[] = [];
  const { peers, crowded, costly } = toldPeers(translated, facts.known);
  for (const [index, from] of (facts.obstacle === undefined ? translated.rules : []).entries()) {
    const peer = restrictPeer(peers[index], facts);
    if (peer === undefined) continue;
    const rule = last.get(from) ?? from;
    rules.push({ from, rule: samePeer(rule.peer, peer) ? rule : { ...from, peer } });
  }
  const { known: _, ...others } = facts;
  return { translated, rules, withheld: translated.rules.length - rules.length, crowded, costly, facts: others };
}

function isNewsOfEntriesAlone(before: RestrictedPolicy['facts'], now: PeerFacts): boolean {
  return (
    before.revokedIds === now.revokedIds &&
    before.revokedCallerIds === now.revokedCallerIds &&
    before.obstacle === now.obstacle &&
    before.trustDomains === now.trustDomains &&
    before.registered === now.registered
  );
}

interface SetOptions {
  readonly fastDeny: boolean;
  /** Given again where it says the same. */
  readonly before?: OffloadSet | undefined;
}

/** What a caller with these IDs is sent. */
export function setFor(restricted: RestrictedPolicy, callerIds: readonly SpiffeId[], own: SetOptions): OffloadSet {
  const rules = restricted.rules.filter(({ from }) => holdsForCaller(from.caller, callerIds));
  return setOf({ ...restricted, rules }, own);
}

/** With all rules, whomever they are for. */
export function setOf({ translated, rules }: RestrictedPolicy, own: SetOptions): OffloadSet {
  const { policy, digest: policyDigest, outer } = translated;
  const allow = rules.map(({ rule }) => rule);
  const set = { policy, policyDigest, allow, ...(own.fastDeny && outer !== undefined ? { outer } : {}) };
  return own.before !== undefined && sameSet(own.before, set) ? own.before : set;
}

export function sameSet(one: OffloadSet, other: OffloadSet): boolean {
  return (
    one.policyDigest === other.policyDigest &&
    one.outer === other.outer &&
    one.allow.length === other.allow.length &&
    one.allow.every((rule, index) => rule === other.allow[index])
  );
}

/** Undefined where it cannot be said, or nobody is left. */
function restrictPeer(peer: PeerMatch | undefined, facts: PeerFacts): PeerMatch | undefined {
  if (peer === undefined) return undefined;
  if (peer.kind === 'anyone') {
    // Whoever shows a certificate of somebody unregistered is denied, and is one of these.
    if (facts.registered !== undefined) return undefined;
    // The gate takes a certificate that it cannot read for a revoked one, and Envoy may read it.
    return facts.revokedIds.size > 0 ? { ...peer, withoutCertificate: true } : peer;
  }
  const [first, ...others] = peer.of.flatMap((match) => narrowed(match, facts));
  if (first === undefined) return undefined;
  const of = [first, ...others] as const;
  const open = of.filter(({ kind }) => kind !== 'exact');
  // An exact ID that is revoked is gone already.
  const left =
    open.length === 0 ? [] : [...facts.revokedIds].filter((id) => open.some((each) => matchesText(each, id)));
  const except = exceptions(peer.except, left);
  return except === undefined ? undefined : { kind: 'peers', of, except };
}

function exceptions(before: readonly TextMatch[], ids: readonly string[]): readonly TextMatch[] | undefined {
  if (ids.length > MAX_EXCEPT) return undefined;
  const have = new Set(before.map(keyOf));
  const more = ids.toSorted().map((text) => ({ kind: 'exact', text }) as const);
  return [...before, ...more.filter((match) => !have.has(keyOf(match)))];
}

/** Within the trust domains that count, in which all IDs that it matches are. */
function narrowed(match: TextMatch, facts: PeerFacts): readonly TextMatch[] {
  const { trustDomains, registered } = facts;
  if (match.kind === 'exact') return isGood(match, facts) ? [match] : [];
  // Which IDs of it are registered cannot be said.
  const open = [...trustDomains].filter((name) => name !== registered?.trustDomain).toSorted();
  switch (match.kind) {
    case 'prefix':
      return open.flatMap((name) => {
        const root = `spiffe://${name}/`;
        if (match.text.startsWith(root)) return [match];
        return root.startsWith(match.text) ? [{ kind: 'prefix', text: root } as const] : [];
      });
    case 'suffix':
      return open.map((name) => ({ kind: 'regex', regex: endingRegex(name, match.text) }));
    case 'contains':
      return open.map((name) => ({ kind: 'regex', regex: `${rootRegex(name)}.*${escapeRegex(match.text)}.*` }));
    case 'regex':
      return open.some((name) => isBeneath(match.regex, rootRegex(name))) ? [match] : [];
  }
}

function isGood(match: ExactMatch, { trustDomains, revokedIds, registered }: PeerFacts): boolean {
  const named = namedBy(match);
  if (named === undefined || revokedIds.has(named.id) || !trustDomains.has(named.trustDomain)) return false;
  return registered === undefined || named.trustDomain !== registered.trustDomain || registered.has(named.id);
}

type ExactMatch = Extract<TextMatch, { text: string }>;

interface Named {
  readonly id: SpiffeId;
  readonly trustDomain: TrustDomain;
}

/** Matches never change, and are looked at again at each revocation. */
const read = new WeakMap<ExactMatch, Named | null>();

/** Undefined for what is no SPIFFE ID. */
function namedBy(match: ExactMatch): Named | undefined {
  let named = read.get(match);
  if (named === undefined) {
    const { text } = match;
    named = isSpiffeId(text) ? { id: text, trustDomain: trustDomainOf(text) } : null;
    read.set(match, named);
  }
  return named ?? undefined;
}

/** Whether whatever the regex matches begins with this root; false where that takes more than a look. */
function isBeneath(regex: string, root: string): boolean {
  return regex.startsWith(root) && !regex.includes('|') && !/^[?*+{]/.test(regex.slice(root.length));
}

function rootRegex(trustDomain: TrustDomain): string {
  return `spiffe://${escapeRegex(trustDomain)}/`;
}

function endingRegex(trustDomain: TrustDomain, end: string): string {
  const root = end.startsWith('/') ? rootRegex(trustDomain).replace(/\/$/, '(?:/.*)?') : `${rootRegex(trustDomain)}.*`;
  return `${root}${escapeRegex(end)}`;
}

function escapeRegex(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

function samePeer(one: PeerMatch, other: PeerMatch): boolean {
  if (!sameMatches(one.except, other.except)) return false;
  if (one.kind === 'peers') return other.kind === 'peers' && sameMatches(one.of, other.of);
  return other.kind === 'anyone' && one.withoutCertificate === other.withoutCertificate;
}

function sameMatches(some: readonly TextMatch[], others: readonly TextMatch[]): boolean {
  return (
    some.length === others.length &&
    some.every((match, index) => match === others[index] || keyOf(match) === keyOf(others[index] as TextMatch))
  );
}

function keyOf(match: TextMatch): string {
  return `${match.kind} ${match.kind === 'regex' ? match.regex : match.text}`;
}

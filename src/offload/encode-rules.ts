import { createHash } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';
import {
  encodeMessage,
  packAny,
  RbacFilter,
  TypedExtensionConfig,
  type PermissionInit,
  type RbacPolicyInit,
  type RbacRulesInit,
} from '../proto/index.ts';
import { encodePeers, encodeOuterPeers } from './encode-peers.ts';
import { encodeText } from './encode-text.ts';
import { OFFLOAD_NAMES, type OffloadRule, type OffloadSet, type RequestMatch } from './offload-rules.ts';

/** A set as Envoy's RBAC filter takes it. */
export interface EncodedRules {
  /** The encoded TypedExtensionConfig. */
  readonly bytes: Uint8Array;
  /** 16 hex digits of SHA-256 over `bytes`. */
  readonly version: string;
  /** How many rules Envoy allows by. */
  readonly allowCount: number;
  /** Whether Envoy decides nothing by them, neither allows nor refuses. */
  readonly isEmpty: boolean;
  /** Ids of rules that Envoy cannot be told exactly: what they allow is left to the call. */
  readonly left: readonly string[];
}

const FILTER_TYPE_URL = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';

/** Policies by the rule that they say. Each stream's set is another one, and most of their rules are the same. */
const POLICIES = new WeakMap<OffloadRule, RbacPolicyInit | undefined>();
const ENCODED = new WeakMap<OffloadSet, EncodedRules>();

/**
 * The RBAC filter that allows what the set allows, in its shadow rules: they are told and not enforced. Throws `internal` for
 * empty lists, which Envoy would read as anything.
 */
export function encodeRules(set: OffloadSet): EncodedRules {
  const known = ENCODED.get(set);
  if (known !== undefined) return known;
  const encoded = encodeSet(set);
  ENCODED.set(set, encoded);
  return encoded;
}

/** Of a policy that allows nothing without a call: every request is asked about. */
export function encodeNoRules(policy: string): EncodedRules {
  return encodeSet({ policy, policyDigest: '', allow: [] });
}

function encodeSet({ policy, allow, outer }: OffloadSet): EncodedRules {
  const policies: Record<string, RbacPolicyInit> = {};
  const left: string[] = [];
  for (const rule of inOrder(allow)) {
    if (Object.hasOwn(policies, rule.id)) throw broken(`two rules of one name: ${rule.id}`);
    const encoded = allowPolicy(rule);
    if (encoded === undefined) left.push(rule.id);
    else policies[rule.id] = encoded;
  }
  const allowCount = allow.length - left.length;
  const filter = encodeMessage(RbacFilter, {
    ...(allowCount === 0 ? {} : { shadowRules: allowRules(policies) }),
    shadowRulesStatPrefix: OFFLOAD_NAMES.shadowPrefix(policy),
    ...(outer === undefined ? {} : { rules: outerRules(outer), rulesStatPrefix: OFFLOAD_NAMES.rulesPrefix(policy) }),
  });
  const bytes = Uint8Array.from(
    encodeMessage(TypedExtensionConfig, {
      name: OFFLOAD_NAMES.resource(policy),
      typedConfig: packAny(FILTER_TYPE_URL, filter),
    }),
  );
  const version = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return { bytes, version, allowCount, isEmpty: allowCount === 0 && outer === undefined, left };
}

function allowRules(policies: Readonly<Record<string, RbacPolicyInit>>): RbacRulesInit {
  return { policies };
}

/** A request that matches none of them is refused; where there are none, every request is. */
function outerRules(outer: readonly OffloadRule[]): RbacRulesInit {
  const policies: Record<string, RbacPolicyInit> = {};
  for (const rule of inOrder(outer)) {
    if (Object.hasOwn(policies, rule.id)) throw broken(`two rules of one name: ${rule.id}`);
    policies[rule.id] = { permissions: [encodeRequest(rule.request)], principals: [encodeOuterPeers(rule.peer)] };
  }
  return allowRules(policies);
}

/** Undefined for what matchers cannot say: an expression, or peers of which none can be told. */
function allowPolicy(rule: OffloadRule): RbacPolicyInit | undefined {
  if (POLICIES.has(rule)) return POLICIES.get(rule);
  const principal = rule.expression === undefined ? encodePeers(rule.peer) : undefined;
  const encoded =
    principal === undefined ? undefined : { permissions: [encodeRequest(rule.request)], principals: [principal] };
  POLICIES.set(rule, encoded);
  return encoded;
}

function encodeRequest(match: RequestMatch): PermissionInit {
  switch (match.kind) {
    case 'always':
      return { any: true };
    case 'all':
      return { andRules: { rules: encodeAll(match.of) } };
    case 'any':
      return { orRules: { rules: encodeAll(match.of) } };
    case 'not':
      return { notRule: encodeRequest(match.of) };
    case 'header': {
      const { name } = match;
      if (name === '') throw broken('a header without a name');
      if (match.match === 'present') return { header: { name, presentMatch: true } };
      return { header: { name, stringMatch: encodeText(match.match) } };
    }
    case 'path':
      return { urlPath: { path: encodeText(match.match) } };
    case 'destination_port':
      return match.from === match.to
        ? { destinationPort: match.from }
        : { destinationPortRange: { start: match.from, end: match.to + 1 } };
    case 'destination_ip':
      return { destinationIp: { addressPrefix: match.address, prefixLen: { value: match.prefixLength } } };
    case 'server_name':
      return { requestedServerName: encodeText(match.match) };
  }
}

function encodeAll(of: readonly RequestMatch[]): PermissionInit[] {
  if (of.length === 0) throw broken('an empty list of conditions');
  return of.map((each) => encodeRequest(each));
}

function inOrder(rules: readonly OffloadRule[]): readonly OffloadRule[] {
  return rules.toSorted((one, other) => (one.id < other.id ? -1 : one.id > other.id ? 1 : 0));
}

function broken(what: string): SvidgateError {
  return new SvidgateError('internal', `rules for Envoy: ${what}`);
}

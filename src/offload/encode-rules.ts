import { createHash } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';
import {
  encodeMessage,
  packAny,
  RbacFilter,
  RbacRules,
  TypedExtensionConfig,
  type PermissionInit,
  type RbacPolicyInit,
  type RbacRulesInit,
} from '../proto/index.ts';
import { encodeHeaderTests } from './encode-headers.ts';
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

/** Field 2, length-delimited. */
const SHADOW_RULES_TAG = (2 << 3) | 2;

const FILTER_TYPE_URL = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';

/** Rules as encoded RBAC messages of one policy each. Sets of several callers have most of their rules in common. */
const POLICIES = new WeakMap<OffloadRule, Uint8Array | undefined>();
const ENCODED = new WeakMap<OffloadSet, EncodedRules>();
/** By policy; callers can make up names of policies. */
const NO_RULES = new Map<string, EncodedRules>();
const MAX_NO_RULES = 256;

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
  let encoded = NO_RULES.get(policy);
  if (encoded === undefined) {
    encoded = encodeSet({ policy, policyDigest: '', allow: [] });
    for (const oldest of NO_RULES.keys()) {
      if (NO_RULES.size < MAX_NO_RULES) break;
      NO_RULES.delete(oldest);
    }
    NO_RULES.set(policy, encoded);
  }
  return encoded;
}

function encodeSet({ policy, allow, outer }: OffloadSet): EncodedRules {
  const policies: Uint8Array[] = [];
  const left: string[] = [];
  for (const rule of inOrder(allow)) {
    const encoded = allowPolicy(rule);
    if (encoded === undefined) left.push(rule.id);
    else policies.push(encoded);
  }
  const allowCount = policies.length;
  const frame = encodeMessage(RbacFilter, {
    shadowRulesStatPrefix: OFFLOAD_NAMES.shadowPrefix(policy),
    ...(outer === undefined ? {} : { rules: outerRules(outer), rulesStatPrefix: OFFLOAD_NAMES.rulesPrefix(policy) }),
  });
  const filter = allowCount === 0 ? frame : Buffer.concat([...shadowRulesOf(policies), frame]);
  const bytes = Uint8Array.from(
    encodeMessage(TypedExtensionConfig, {
      name: OFFLOAD_NAMES.resource(policy),
      typedConfig: packAny(FILTER_TYPE_URL, filter),
    }),
  );
  const version = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return { bytes, version, allowCount, isEmpty: allowCount === 0 && outer === undefined, left };
}

/** The field of the filter: encoded messages one after the other are one message with all their policies. */
function shadowRulesOf(policies: readonly Uint8Array[]): readonly Uint8Array[] {
  let length = policies.reduce((sum, each) => sum + each.length, 0);
  const tag = [SHADOW_RULES_TAG];
  for (; length > 0x7f; length = Math.floor(length / 0x80)) tag.push((length & 0x7f) | 0x80);
  return [Uint8Array.from([...tag, length]), ...policies];
}

/** A request that matches none of them is refused; where there are none, every request is. */
function outerRules(outer: readonly OffloadRule[]): RbacRulesInit {
  const policies: Record<string, RbacPolicyInit> = {};
  for (const rule of inOrder(outer)) {
    policies[rule.id] = { permissions: [encodeRequest(rule.request)], principals: [encodeOuterPeers(rule.peer)] };
  }
  return { policies };
}

/** Undefined for what cannot be said: peers of which none can be told, headers that are none. */
function allowPolicy(rule: OffloadRule): Uint8Array | undefined {
  if (POLICIES.has(rule)) return POLICIES.get(rule);
  const policy = encodeAllow(rule);
  const encoded = policy === undefined ? undefined : encodeMessage(RbacRules, { policies: { [rule.id]: policy } });
  POLICIES.set(rule, encoded);
  return encoded;
}

function encodeAllow({ request, peer, headers }: OffloadRule): RbacPolicyInit | undefined {
  const principal = encodePeers(peer);
  const condition = headers === undefined ? undefined : encodeHeaderTests(headers);
  if (principal === undefined || (headers !== undefined && condition === undefined)) return undefined;
  const policy = { permissions: [encodeRequest(request)], principals: [principal] };
  return condition === undefined ? policy : { ...policy, condition };
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
  const sorted = rules.toSorted((one, other) => (one.id < other.id ? -1 : one.id > other.id ? 1 : 0));
  const twice = sorted.find((rule, index) => rule.id === sorted[index + 1]?.id);
  if (twice !== undefined) throw broken(`two rules of one name: ${twice.id}`);
  return sorted;
}

function broken(what: string): SvidgateError {
  return new SvidgateError('internal', `rules for Envoy: ${what}`);
}

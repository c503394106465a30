import { toIdPattern } from './id-pattern.ts';
import { literal, ruleName } from './rego-text.ts';
import { fitsRule, type RuleRequest } from './rule-model.ts';
import type { Rule, RuleCondition, RuleSet, RuleSubject, RuleTarget } from './rules.ts';

/** Somebody, some path and some host that nobody writes rules about. */
const STRANGER = 'spiffe://stranger.invalid/nobody';
const ELSEWHERE = '/elsewhere-nowhere';
const OTHER_HOST = 'other.invalid';

/**
 * Tests of the module that rulesToRego writes: for each rule a request that fits it, and the same request with one thing changed,
 * each by what the rule itself says. What no rule says anything about is denied.
 */
export function rulesToTests({ package: name, rules }: RuleSet): string {
  const alias = name.split('.').at(-1) ?? name;
  return [
    '# Written by svidgate from a rules file, beside its rules.',
    `package ${name}_test\n`,
    `import data.${name}\n`,
    ...rules.flatMap((rule) => ruleTests(rule, alias)),
    `test_nothing_is_denied if not ${alias}.allow with input as {}\n`,
    `test_who_is_not_named_is_denied if {\n\tnot ${alias}.allow with input as ${toInput({ ...NOTHING, path: `${ELSEWHERE}/../` })}\n}\n`,
  ].join('\n');
}

const NOTHING: RuleRequest = { method: 'GET', path: ELSEWHERE, host: OTHER_HOST, headers: {} };

function ruleTests(rule: Rule, alias: string): readonly string[] {
  const predicate = ruleName(rule.name);
  const request = sampleOf(rule);
  const { peer: _peer, ...unverified } = request;
  const { jwt: _jwt, ...withoutToken } = request;
  const variants: readonly (readonly [string, RuleRequest])[] = [
    ['as_it_says', request],
    ['somebody_else', { ...request, peer: STRANGER }],
    ['not_verified', unverified],
    ['another_method', { ...request, method: request.method === 'TRACE' ? 'CONNECT' : 'TRACE' }],
    ['another_path', { ...request, path: ELSEWHERE }],
    ['another_host', { ...request, host: OTHER_HOST }],
    ['without_headers', { ...request, headers: {} }],
    ['without_a_token', withoutToken],
  ];
  return variants.map(([what, variant]) => {
    const expected = fitsRule(rule, variant) ? '' : 'not ';
    return `test_${predicate}_${what} if {\n\t${expected}${alias}.${predicate} with input as ${toInput(variant)}\n}\n`;
  });
}

/** A request that fits, where there can be one. */
function sampleOf({ from, to, when }: Rule): RuleRequest {
  const [target] = to;
  const headers: Record<string, string> = {};
  const claims: Record<string, unknown> = {};
  let provider: string | undefined;
  for (const { of, test } of when) {
    const value = valueFor(test);
    if (of.kind === 'claim') provider = of.provider;
    if (of.kind === 'token') {
      if (value !== undefined) provider ??= 'any';
      continue;
    }
    if (value === undefined) continue;
    if (of.kind === 'header') headers[of.name] = value;
    else put(claims, of.path, value);
  }
  const peer = peerFor(from[0]);
  return {
    ...(peer === undefined ? {} : { peer }),
    ...requestFor(target),
    headers,
    ...(provider === undefined ? {} : { jwt: { provider, claims } }),
  };
}

function peerFor(subject: RuleSubject): string | undefined {
  if (subject.kind !== 'peer') return undefined;
  const [pattern] = subject.spiffeIds;
  if (pattern === undefined) return `spiffe://${subject.trustDomains[0] ?? 'somewhere.invalid'}/somebody`;
  const { segments, isBeneath } = toIdPattern(pattern);
  return `${segments.map((segment) => (segment === '*' ? 'any' : segment)).join('/')}${isBeneath ? '/any' : ''}`;
}

function requestFor(target: RuleTarget | undefined): Pick<RuleRequest, 'method' | 'path' | 'host'> {
  const { methods = [], paths = [], hosts = [] } = target ?? {};
  const host = hosts[0] ?? 'service.invalid';
  return {
    method: methods[0] ?? 'PATCH',
    path: (paths[0] ?? '/some/path').replace(/\/\*\*$/, '/any/rest').replaceAll('*', 'any'),
    host: host.startsWith('*') ? `any${host.slice(1)}` : host,
  };
}

function valueFor(test: RuleCondition['test']): string | undefined {
  switch (test.kind) {
    case 'in':
      return test.values[0];
    case 'not_in':
      return `none of ${test.values.join(' ')}`;
    case 'prefix':
      return `${test.text}x`;
    case 'suffix':
      return `x${test.text}`;
    case 'present':
      return test.isPresent ? 'x' : undefined;
  }
}

function put(claims: Record<string, unknown>, path: readonly string[], value: string): void {
  const [name = '', ...rest] = path;
  if (rest.length === 0) {
    claims[name] = value;
    return;
  }
  const below = claims[name];
  const child: Record<string, unknown> = typeof below === 'object' && below !== null ? { ...below } : {};
  put(child, rest, value);
  claims[name] = child;
}

function toInput({ peer, method, path, host, headers, jwt }: RuleRequest): string {
  const input = {
    attributes: { request: { http: { method, path, host, headers } } },
    parsed_path: path.replace(/^\/+/, '').split('/'),
    svidgate: {
      peer: peer === undefined ? { verified: false, reason: 'no_certificate' } : { verified: true, spiffe_id: peer },
      jwt: jwt === undefined ? { verified: false, reason: 'absent' } : { verified: true, ...jwt },
    },
  };
  return rego(input, 1);
}

/** As `opa fmt` would have it: one member a line. */
function rego(value: unknown, depth: number): string {
  const indent = '\t'.repeat(depth + 1);
  if (Array.isArray(value)) return `[${value.map((each) => rego(each, depth)).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return typeof value === 'string' ? literal(value) : String(value);
  const members = Object.entries(value);
  if (members.length === 0) return '{}';
  const lines = members.map(([key, member]) => `${indent}${literal(key)}: ${rego(member, depth + 1)},`);
  return `{\n${lines.join('\n')}\n${'\t'.repeat(depth)}}`;
}

import { fitsId, toIdPattern } from './id-pattern.ts';
import type { Rule, RuleCondition, RuleSubject, RuleTarget } from './rules.ts';

/** What a rule looks at in a request. */
export interface RuleRequest {
  /** Absent: nobody verified it. */
  readonly peer?: string;
  readonly method: string;
  /** Plain, and without a query. */
  readonly path: string;
  readonly host: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The one verified token. */
  readonly jwt?: { readonly provider: string; readonly claims: Readonly<Record<string, unknown>> };
}

/** Whether the rule fits, read from the rule itself and not from its Rego. */
export function fitsRule({ action, from, to, when }: Rule, request: RuleRequest): boolean {
  return (
    from.some((subject) => fitsSubject(subject, action, request)) &&
    (to.length === 0 || to.some((target) => fitsTarget(target, request))) &&
    when.every((condition) => fitsCondition(condition, request))
  );
}

function fitsSubject(subject: RuleSubject, action: Rule['action'], { peer }: RuleRequest): boolean {
  if (subject.kind === 'anyone') return true;
  if (subject.kind === 'unverified') return peer === undefined;
  const { spiffeIds, notSpiffeIds, trustDomains, notTrustDomains, isVerified } = subject;
  const saysWho = spiffeIds.length + trustDomains.length > 0;
  if (peer === undefined) return action === 'deny' && !saysWho && !isVerified;
  const isOne = (patterns: readonly string[]): boolean => patterns.some((text) => fitsId(toIdPattern(text), peer));
  const domain = peer.split('/')[2] ?? '';
  return (
    (spiffeIds.length === 0 || isOne(spiffeIds)) &&
    (trustDomains.length === 0 || trustDomains.includes(domain)) &&
    !isOne(notSpiffeIds) &&
    !notTrustDomains.includes(domain)
  );
}

function fitsTarget(target: RuleTarget, { method, path, host }: RuleRequest): boolean {
  const name = (host.toLowerCase().split(':')[0] ?? '').replace(/\.+$/, '');
  const isPath = (patterns: readonly string[]): boolean => patterns.some((pattern) => fitsPath(pattern, path));
  const isHost = (patterns: readonly string[]): boolean =>
    patterns.some((pattern) => (pattern.startsWith('*') ? name.endsWith(pattern.slice(1)) : name === pattern));
  return (
    (target.methods.length === 0 || target.methods.includes(method)) &&
    !target.notMethods.includes(method) &&
    (target.paths.length === 0 || isPath(target.paths)) &&
    !isPath(target.notPaths) &&
    (target.hosts.length === 0 || isHost(target.hosts)) &&
    !isHost(target.notHosts) &&
    (target.notHosts.length === 0 || name !== '')
  );
}

function fitsPath(pattern: string, path: string): boolean {
  const given = path.slice(1).split('/');
  const isBeneath = pattern.endsWith('/**');
  const wanted = (isBeneath ? pattern.slice(1, -'/**'.length) : pattern.slice(1)).split('/');
  if (pattern === '/**') return true;
  if (isBeneath ? given.length < wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, at) => (segment === '*' ? given[at] !== '' : segment === given[at]));
}

function fitsCondition({ of, test }: RuleCondition, { headers, jwt }: RuleRequest): boolean {
  let value: unknown;
  if (of.kind === 'token') value = jwt;
  else if (of.kind === 'header') value = Object.hasOwn(headers, of.name) ? headers[of.name] : undefined;
  else {
    if (jwt?.provider !== of.provider) return false;
    value = of.path.reduce<unknown>((below, step) => childOf(below, step), jwt.claims);
  }
  const isOneOf = (wanted: readonly string[]): boolean => {
    const given: readonly unknown[] = Array.isArray(value) && of.kind === 'claim' ? value : [value];
    return given.some((each) => typeof each === 'string' && wanted.includes(each));
  };
  switch (test.kind) {
    case 'in':
      return isOneOf(test.values);
    case 'not_in':
      return value !== undefined && value !== null && !isOneOf(test.values);
    case 'prefix':
      return typeof value === 'string' && value.startsWith(test.text);
    case 'suffix':
      return typeof value === 'string' && value.endsWith(test.text);
    case 'present':
      return (value !== undefined && value !== null) === test.isPresent;
  }
}

function childOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key))
    return undefined;
  return (value as Readonly<Record<string, unknown>>)[key];
}

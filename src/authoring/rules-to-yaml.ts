import type { Rule, RuleCondition, RuleSet, RuleSubject, RuleTarget } from './rules.ts';

/** The file of which parseRules makes these rules. */
export function rulesToYaml({ package: name, rules }: RuleSet): string {
  const head = name === 'envoy.authz' ? [] : [`package: ${name}`];
  if (rules.length === 0) return [...head, 'rules: []', ''].join('\n');
  return [...head, 'rules:', ...rules.map(ruleText), ''].join('\n');
}

function ruleText({ name, action, from, to, when }: Rule): string {
  return [
    `  - name: ${JSON.stringify(name)}`,
    ...(action === 'allow' ? [] : [`    action: ${action}`]),
    '    from:',
    ...from.map((subject) => `      - ${flow(subjectKeys(subject))}`),
    ...(to.length === 0 ? [] : ['    to:', ...to.map((target) => `      - ${flow(targetKeys(target))}`)]),
    ...(when.length === 0
      ? []
      : ['    when:', ...when.map((condition) => `      - ${flow(conditionKeys(condition))}`)]),
  ].join('\n');
}

type Keys = Readonly<Record<string, string | boolean | readonly string[]>>;

function subjectKeys(subject: RuleSubject): Keys {
  if (subject.kind !== 'peer') return { [subject.kind]: true };
  return {
    ...(subject.isVerified ? { verified: true } : {}),
    spiffe_ids: subject.spiffeIds,
    not_spiffe_ids: subject.notSpiffeIds,
    trust_domains: subject.trustDomains,
    not_trust_domains: subject.notTrustDomains,
  };
}

function targetKeys(target: RuleTarget): Keys {
  return {
    methods: target.methods,
    not_methods: target.notMethods,
    paths: target.paths,
    not_paths: target.notPaths,
    hosts: target.hosts,
    not_hosts: target.notHosts,
  };
}

function conditionKeys({ of, test }: RuleCondition): Keys {
  if (of.kind === 'token') return { verified_token: test.kind === 'present' && test.isPresent };
  const subject = of.kind === 'header' ? { header: of.name } : { claim: of.path, provider: of.provider };
  switch (test.kind) {
    case 'in':
    case 'not_in':
      return { ...subject, [test.kind]: test.values };
    case 'prefix':
    case 'suffix':
      return { ...subject, [test.kind]: test.text };
    case 'present':
      return { ...subject, present: test.isPresent };
  }
}

/** In one line, without lists that are empty; texts in quotes, which YAML reads as JSON. */
function flow(keys: Keys): string {
  const members = Object.entries(keys).filter(([, value]) => !Array.isArray(value) || value.length > 0);
  const text = (value: unknown): string =>
    Array.isArray(value) ? `[${value.map(text).join(', ')}]` : JSON.stringify(value);
  return `{ ${members.map(([key, value]) => `${key}: ${text(value)}`).join(', ')} }`;
}

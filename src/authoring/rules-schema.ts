import {
  choiceField,
  flagField,
  listField,
  optionalField,
  parseYamlDocument,
  sectionField,
  textField,
  type Field,
  type Parsed,
  type ReportMistake,
} from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import { parseTrustDomain } from '../spiffe/index.ts';
import { parseIdPattern } from './id-pattern.ts';
import { ruleName } from './rego-text.ts';
import type { Rule, RuleCondition, RuleSet, RuleSubject, RuleTarget } from './rules.ts';

const MAX_TEXT = 512;

/** Reads a rules file: all its mistakes with their places, or what it says. */
export function parseRules(text: string, file: string): Parsed<RuleSet> {
  const parsed = parseYamlDocument({ text, file, schema: ruleSetSection() });
  return parsed.mistakes === undefined ? { ...parsed, value: toRuleSet(parsed.value) } : parsed;
}

function ruleSetSection() {
  return sectionField(
    {
      package: textField(
        { description: 'The Rego package.', expected: 'names with dots', default: 'envoy.authz' },
        (name) => matching(name, /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){0,9}$/, 'names with dots such as envoy.authz'),
      ),
      rules: listField(
        ruleSection(),
        { description: 'Who may call what.', expected: 'a list of rules such as [{ name: …, from: […] }]' },
        checkRules,
      ),
    },
    { description: 'Who may call what. Everything else is denied.' },
  );
}

type RawRule = ReturnType<typeof ruleSection> extends Field<infer T> ? T : never;

/** Two rules that are one name in Rego would be one rule. */
function checkRules(rules: ReadonlyMap<number, RawRule>, report: ReportMistake): void {
  const first = new Map<string, string>();
  for (const [index, { name, action, from }] of rules) {
    const unverified = from.findIndex((subject) => subject.unverified);
    if (action === 'allow' && unverified !== -1) {
      report(
        [index, 'from', unverified],
        'nobody is let in for not being verified',
        '`anyone: true` lets in everybody',
      );
    }
    const known = first.get(ruleName(name));
    if (known !== undefined) {
      report([index, 'name'], `the name is taken by the rule ${JSON.stringify(known)}`, 'give each rule its own name');
    }
    first.set(ruleName(name), name);
  }
}

function ruleSection() {
  return sectionField(
    {
      name: textField({ description: 'What it is called.', expected: 'a few words' }, (name) =>
        matching(name, /^[A-Za-z][A-Za-z0-9 ._-]{0,99}$/, 'letters, digits, spaces, `.`, `-` and `_`, a letter first'),
      ),
      action: choiceField(['allow', 'deny'], { description: 'What it does. A deny counts more.', default: 'allow' }),
      from: listField(subjectSection(), {
        description: 'Who: one of these.',
        expected: 'a list such as [{ spiffe_ids: […] }], or [{ anyone: true }]',
        min: 1,
      }),
      to: optionalField(
        listField(targetSection(), {
          description: 'What: one of these; left out: any request.',
          expected: 'a list',
          min: 1,
        }),
      ),
      when: optionalField(
        listField(conditionSection(), { description: 'All of these hold.', expected: 'a list', min: 1 }),
      ),
    },
    { description: 'One rule.' },
  );
}

function subjectSection() {
  return sectionField(
    {
      anyone: flagField({ description: 'Everybody, also who nobody verified.', default: false }),
      verified: flagField({ description: 'Every verified peer.', default: false }),
      unverified: flagField({ description: 'Whom nobody verified; with `action: deny`.', default: false }),
      spiffe_ids: texts('SPIFFE IDs; `/**` at the end for all beneath, `*` for one segment.', parseIdPattern),
      not_spiffe_ids: texts('None of these.', parseIdPattern),
      trust_domains: texts('All of these trust domains.', parseDomain),
      not_trust_domains: texts('None of these.', parseDomain),
    },
    { description: 'Some peers.' },
    ({ anyone = false, verified = false, unverified = false, ...lists }, report, wrong) => {
      if (wrong.size > 0) return; // it may be what says who
      const isNamed = verified || Object.keys(lists).length > 0;
      const said = [anyone, unverified, isNamed].filter(Boolean).length;
      if (said === 0) {
        report([], 'it names nobody', 'give `spiffe_ids`, `trust_domains`, `verified: true` or `anyone: true`');
      }
      if (said > 1) report([], 'it says two things', 'make two of it, or leave `anyone` or `unverified` out');
    },
  );
}

function targetSection() {
  return sectionField(
    {
      methods: texts('HTTP methods.', parseMethod),
      not_methods: texts('None of these.', parseMethod),
      paths: texts('Paths: `/a`, `/a/*` for one more segment, `/a/**` for any rest.', parsePath),
      not_paths: texts('None of these.', parsePath),
      hosts: texts('Names without a port; `*.acme.test` for all beneath.', parseHost),
      not_hosts: texts('None of these.', parseHost),
    },
    { description: 'Some requests.' },
    (lists, report, wrong) => {
      if (wrong.size > 0) return;
      if (Object.keys(lists).length === 0) report([], 'it names nothing', 'give `methods`, `paths` or `hosts`');
    },
  );
}

function conditionSection() {
  const value = (text: string): string => bounded(text, 'a text');
  return sectionField(
    {
      header: optionalField(
        textField({ description: 'A header of the request.', expected: 'a name' }, (name) =>
          matching(name.toLowerCase(), /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/, 'the name of a header'),
        ),
      ),
      claim: texts('A claim of the verified token: its name, and within it the names on the way.', value),
      provider: optionalField(
        textField({ description: 'Whose token: of authz.jwt_providers, or jwt_svid.', expected: 'a name' }, value),
      ),
      in: texts('It is one of these. Of a claim with several values, one is.', value),
      not_in: texts('It is there, and none of these.', value),
      prefix: optionalField(textField({ description: 'It begins with this.', expected: 'a text' }, value)),
      suffix: optionalField(textField({ description: 'It ends with this.', expected: 'a text' }, value)),
      present: optionalField(flagField({ description: 'Whether it is there.', default: true })),
      verified_token: optionalField(
        flagField({ description: 'Whether there is exactly one token, and it is verified.', default: true }),
      ),
    },
    { description: 'One condition.' },
    ({ header, claim, provider, verified_token: token, ...tests }, report, wrong) => {
      if (wrong.size > 0) return;
      if (token !== undefined) {
        if ([header, claim, provider].some((each) => each !== undefined) || Object.keys(tests).length > 0) {
          report([], '`verified_token` stands alone', 'make two conditions of it');
        }
        return;
      }
      if ((header === undefined) === (claim === undefined)) {
        report([], 'it is about one header or one claim', 'give `header` or `claim`');
      }
      if ((claim === undefined) !== (provider === undefined)) {
        report([], '`claim` and `provider` belong together', 'say whose token it is, such as `provider: github`');
      }
      if (Object.keys(tests).length !== 1) {
        report([], 'it has one test', 'give one of `in`, `not_in`, `prefix`, `suffix` and `present`');
      }
    },
  );
}

function texts(description: string, parse: (text: string) => string) {
  const element = textField({ description: 'One of them.', expected: 'a text' }, parse);
  return optionalField(listField(element, { description, expected: 'a list of texts', min: 1 }));
}

function matching(text: string, pattern: RegExp, expected: string): string {
  if (pattern.test(text)) return text;
  throw new SvidgateError('config_invalid', `expected ${expected}`);
}

function bounded(text: string, what: string): string {
  // Control characters would make the Rego hard to read, and no header has them.
  return matching(
    text,
    new RegExp(`^[^\\u0000-\\u001f\\u007f]{1,${MAX_TEXT}}$`, 'u'),
    `${what} of 1 to ${MAX_TEXT} characters`,
  );
}

function parseDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    throw new SvidgateError('config_invalid', 'expected a trust domain such as prod.acme.test', { cause });
  }
}

function parseMethod(text: string): string {
  return matching(text, /^[A-Z][A-Z-]{0,31}$/, 'a method in upper case such as GET');
}

function parsePath(text: string): string {
  const segment = /^(?:\*|[A-Za-z0-9._~!$&'()+,=:@ -]+)$/;
  const [first, ...segments] = text.split('/');
  const isRight =
    first === '' &&
    segments.every((each, at) => {
      const isLast = at === segments.length - 1;
      if (each === '') return isLast;
      return (each === '**' && isLast) || (segment.test(each) && each !== '.' && each !== '..');
    });
  if (isRight && text.length <= MAX_TEXT) return text;
  throw new SvidgateError(
    'config_invalid',
    'expected a path as services see it, without escapes, such as /orders, /orders/* or /orders/**',
  );
}

function parseHost(text: string): string {
  return matching(
    text.toLowerCase(),
    /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/,
    'a host without a port, such as api.acme.test or *.acme.test',
  );
}

type RawSet = ReturnType<typeof ruleSetSection> extends Field<infer T> ? T : never;
type RawSubject = RawRule['from'][number];
type RawTarget = NonNullable<RawRule['to']>[number];
type RawCondition = NonNullable<RawRule['when']>[number];

function toRuleSet({ package: name, rules }: RawSet): RuleSet {
  return { package: name, rules: rules.map(toRule) };
}

function toRule({ name, action, from, to = [], when = [] }: RawRule): Rule {
  const [first, ...others] = from.map(toSubject);
  if (first === undefined) throw new Error('the schema lets no rule pass without `from`');
  return { name, action, from: [first, ...others], to: to.map(toTarget), when: when.map(toCondition) };
}

function toSubject(raw: RawSubject): RuleSubject {
  if (raw.anyone) return { kind: 'anyone' };
  if (raw.unverified) return { kind: 'unverified' };
  return {
    kind: 'peer',
    isVerified: raw.verified,
    spiffeIds: raw.spiffe_ids ?? [],
    notSpiffeIds: raw.not_spiffe_ids ?? [],
    trustDomains: raw.trust_domains ?? [],
    notTrustDomains: raw.not_trust_domains ?? [],
  };
}

function toTarget(raw: RawTarget): RuleTarget {
  return {
    methods: raw.methods ?? [],
    notMethods: raw.not_methods ?? [],
    paths: raw.paths ?? [],
    notPaths: raw.not_paths ?? [],
    hosts: raw.hosts ?? [],
    notHosts: raw.not_hosts ?? [],
  };
}

function toCondition(raw: RawCondition): RuleCondition {
  const { verified_token: token } = raw;
  if (token !== undefined) return { of: { kind: 'token' }, test: { kind: 'present', isPresent: token } };
  return { of: conditionSubject(raw), test: conditionTest(raw) };
}

function conditionSubject({ header, claim = [], provider = '' }: RawCondition): RuleCondition['of'] {
  return header === undefined ? { kind: 'claim', provider, path: claim } : { kind: 'header', name: header };
}

function conditionTest(raw: RawCondition): RuleCondition['test'] {
  if (raw.in !== undefined) return { kind: 'in', values: raw.in };
  if (raw.not_in !== undefined) return { kind: 'not_in', values: raw.not_in };
  if (raw.prefix !== undefined) return { kind: 'prefix', text: raw.prefix };
  if (raw.suffix !== undefined) return { kind: 'suffix', text: raw.suffix };
  if (raw.present !== undefined) return { kind: 'present', isPresent: raw.present };
  throw new Error('the schema lets no condition pass without a test');
}

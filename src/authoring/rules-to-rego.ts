import { isExact, toIdPattern } from './id-pattern.ts';
import { isOneOf, literal, partName, ruleName, ruleText, setOf } from './rego-text.ts';
import type { Rule, RuleCondition, RuleSet, RuleSubject, RuleTarget } from './rules.ts';

/** Parts of the module that not every set of rules needs, in the order in which they are written. */
const SHARED = {
  request: 'request := input.attributes.request.http',
  peer: `# Defined only when svidgate checked the peer's certificate against the live bundles.
peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true`,
  trustDomain: 'trust_domain := split(peer, "/")[2]',
  idFits: `# \`*\` is one segment, \`**\` at the end one or more.
id_fits(pattern) if {
	not endswith(pattern, "/**")
	wanted := split(pattern, "/")
	given := split(peer, "/")
	count(wanted) == count(given)
	every i, segment in wanted {
		segment in {"*", given[i]}
	}
}

id_fits(pattern) if {
	endswith(pattern, "/**")
	wanted := split(trim_suffix(pattern, "/**"), "/")
	given := split(peer, "/")
	count(wanted) < count(given)
	every i, segment in wanted {
		segment in {"*", given[i]}
	}
}`,
  host: `# Without its port, and without dots at its end.
host := trim_right(split(lower(request.host), ":")[0], ".")`,
  jwt: `# Defined only when there is exactly one token, and svidgate verified it.
jwt := input.svidgate.jwt if input.svidgate.jwt.verified == true`,
  claimIsOneOf: `claim_is_one_of(claim, wanted) if claim in wanted

claim_is_one_of(claim, wanted) if {
	is_array(claim)
	some value in claim
	value in wanted
}`,
} as const;

type Shared = keyof typeof SHARED;

/** The module of a set of rules. It imports `data.svidgate.paths`, which is shipped as policies/rego/paths.rego. */
export function rulesToRego({ package: name, rules }: RuleSet): string {
  const writer = new Writer();
  const sections = rules.map((rule) => writer.rule(rule));
  const named = (action: Rule['action']): readonly string[] =>
    rules.filter((rule) => rule.action === action).map((rule) => ruleName(rule.name));
  const granted = named('allow');
  const refused = named('deny');
  const isGranted = granted.length === 0 ? [] : ['is_granted'];
  const guards = refused.length === 0 && !writer.refusesRawHeaders ? [] : ['not is_refused'];
  const shared = (Object.keys(SHARED) as Shared[])
    .filter((part) => writer.shared.has(part))
    .map((part) => SHARED[part]);
  return [
    '# METADATA\n# title: Rules\n# description: Written by svidgate from a rules file, which is the place for changes.',
    `package ${name}\n`,
    ...(granted.length > 0 || writer.matchesPaths ? ['import data.svidgate.paths\n'] : []),
    '# METADATA\n# entrypoint: true',
    'default allow := false\n',
    ...(granted.length === 0 ? [] : [`${ruleText('allow', ['paths.is_plain', ...guards, ...isGranted])}\n`]),
    ...granted.map((rule) => `is_granted if ${rule}\n`),
    ...refused.map((rule) => `is_refused if ${rule}\n`),
    // Without it a header that must not be there would not be seen.
    ...(writer.refusesRawHeaders ? ['is_refused if request.headerMap\n'] : []),
    ...sections.map((section) => `${section}\n`),
    ...shared.map((part) => `${part}\n`),
  ]
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n');
}

class Writer {
  readonly shared = new Set<Shared>();
  refusesRawHeaders = false;
  matchesPaths = false;
  /** Rules that the present one is made of. */
  #parts: string[] = [];

  rule(rule: Rule): string {
    this.#parts = [];
    const name = ruleName(rule.name);
    const body = [
      ...this.#from(rule, name),
      ...this.#to(rule, name),
      ...rule.when.flatMap((condition, at) => this.#condition(condition, rule, partName(name, `when_${at + 1}`))),
    ];
    const head = `# METADATA\n# title: ${literal(rule.name)}\n${ruleText(name, body.length === 0 ? ['true'] : body)}`;
    return [head, ...this.#parts].join('\n\n');
  }

  #from({ from, action }: Rule, name: string): readonly string[] {
    if (from.some(({ kind }) => kind === 'anyone')) return [];
    const several = from.length > 1;
    const bodies = from.map((subject, at) =>
      this.#subject(subject, action, partName(name, `from${several ? `_${at + 1}` : ''}`)),
    );
    return this.#oneOf(partName(name, 'from'), bodies);
  }

  #subject(subject: RuleSubject, action: Rule['action'], name: string): readonly string[] {
    if (subject.kind === 'anyone') return ['true'];
    if (subject.kind === 'unverified') {
      this.#use('peer');
      return ['not peer'];
    }
    const { spiffeIds, notSpiffeIds, trustDomains, notTrustDomains } = subject;
    const saysWho = spiffeIds.length + trustDomains.length > 0;
    this.#use('peer');
    const body: string[] = [];
    if (!saysWho && (subject.isVerified || action === 'allow')) body.push('peer != ""');
    if (spiffeIds.length > 0)
      body.push(
        ...this.#oneOf(
          `${name}_ids`,
          this.#ids(spiffeIds).map((id) => [id]),
        ),
      );
    if (trustDomains.length > 0) body.push(this.#trustDomain(trustDomains));
    if (notSpiffeIds.length > 0) body.push(this.#none(`${name}_not_ids`, this.#ids(notSpiffeIds)));
    if (notTrustDomains.length > 0) body.push(this.#none(`${name}_not_domains`, [this.#trustDomain(notTrustDomains)]));
    return body;
  }

  #trustDomain(domains: readonly string[]): string {
    this.#use('trustDomain');
    return isOneOf('trust_domain', domains);
  }

  #ids(texts: readonly string[]): readonly string[] {
    const patterns = texts.map(toIdPattern);
    const exact = patterns.filter(isExact);
    const others = patterns.filter((pattern) => !isExact(pattern));
    return [
      ...(exact.length === 0
        ? []
        : [
            isOneOf(
              'peer',
              exact.map(({ text }) => text),
            ),
          ]),
      ...others.map(({ text, segments }) => {
        if (!segments.includes('*')) return `startswith(peer, ${literal(`${segments.join('/')}/`)})`;
        this.#use('idFits');
        return `id_fits(${literal(text)})`;
      }),
    ];
  }

  #to({ to, action }: Rule, name: string): readonly string[] {
    if (to.length === 0) return [];
    const several = to.length > 1;
    const bodies = to.map((target, at) =>
      this.#target(target, action, partName(name, `to${several ? `_${at + 1}` : ''}`)),
    );
    return this.#oneOf(partName(name, 'to'), bodies);
  }

  #target(target: RuleTarget, action: Rule['action'], name: string): readonly string[] {
    const { methods, notMethods, paths, notPaths, hosts, notHosts } = target;
    this.#use('request');
    const isThere = (value: string): readonly string[] => (action === 'allow' ? [`${value} != ""`] : []);
    const body: string[] = [];
    if (methods.length > 0) body.push(isOneOf('request.method', methods));
    if (notMethods.length > 0) {
      body.push(
        ...isThere('request.method'),
        this.#none(`${name}_not_methods`, [isOneOf('request.method', notMethods)]),
      );
    }
    this.matchesPaths ||= paths.length + notPaths.length > 0;
    const matches = (pattern: string): string => `paths.matches(${literal(pattern)})`;
    if (paths.length > 0)
      body.push(
        ...this.#oneOf(
          `${name}_paths`,
          paths.map((path) => [matches(path)]),
        ),
      );
    if (notPaths.length > 0) body.push(this.#none(`${name}_not_paths`, notPaths.map(matches)));
    if (hosts.length > 0)
      body.push(
        ...this.#oneOf(
          `${name}_hosts`,
          this.#hosts(hosts).map((host) => [host]),
        ),
      );
    if (notHosts.length > 0) {
      body.push(...isThere('host'), this.#none(`${name}_not_hosts`, this.#hosts(notHosts)));
    }
    return body;
  }

  #hosts(texts: readonly string[]): readonly string[] {
    this.#use('host');
    const exact = texts.filter((text) => !text.startsWith('*'));
    return [
      ...(exact.length === 0 ? [] : [isOneOf('host', exact)]),
      ...texts.filter((text) => text.startsWith('*')).map((text) => `endswith(host, ${literal(text.slice(1))})`),
    ];
  }

  #condition({ of, test }: RuleCondition, { action }: Rule, name: string): readonly string[] {
    let value: string;
    const body: string[] = [];
    if (of.kind === 'token') {
      this.#use('jwt');
      return [test.kind === 'present' && test.isPresent ? 'jwt' : 'not jwt'];
    }
    if (of.kind === 'header') {
      this.#use('request');
      const isAbsent = test.kind === 'present' && !test.isPresent;
      if (action === 'deny' || isAbsent) this.refusesRawHeaders = true;
      value = `request.headers[${literal(of.name)}]`;
    } else {
      this.#use('jwt');
      body.push(`jwt.provider == ${literal(of.provider)}`);
      value = `jwt.claims${of.path.map((step) => `[${literal(step)}]`).join('')}`;
    }
    const isAny = (values: readonly string[]): string => {
      if (of.kind === 'header') return isOneOf(value, values);
      this.#use('claimIsOneOf');
      return `claim_is_one_of(${value}, ${setOf(values)})`;
    };
    switch (test.kind) {
      case 'in':
        return [...body, isAny(test.values)];
      case 'not_in':
        return [...body, `${value} != null`, this.#none(`${name}_not`, [isAny(test.values)])];
      case 'prefix':
        return [...body, `startswith(${value}, ${literal(test.text)})`];
      case 'suffix':
        return [...body, `endswith(${value}, ${literal(test.text)})`];
      case 'present':
        return [...body, test.isPresent ? `${value} != null` : this.#none(`${name}_present`, [`${value} != null`])];
    }
  }

  #use(part: Shared): void {
    this.shared.add(part);
    if (part === 'trustDomain' || part === 'idFits') this.shared.add('peer');
    if (part === 'host') this.shared.add('request');
  }

  /** What holds when one of the bodies does: the only one itself, or a rule with all of them. */
  #oneOf(name: string, bodies: readonly (readonly string[])[]): readonly string[] {
    const [only = [], ...more] = bodies;
    if (more.length === 0) return only;
    this.#parts.push(bodies.map((body) => ruleText(name, body)).join('\n\n'));
    return [name];
  }

  /** Negates a rule, and not the expressions: what is undefined in one of those fits nothing. */
  #none(name: string, expressions: readonly string[]): string {
    this.#parts.push(expressions.map((expression) => ruleText(name, [expression])).join('\n\n'));
    return `not ${name}`;
  }
}

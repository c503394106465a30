import { SvidgateError } from '../core/index.ts';
import { parseIdPattern } from './id-pattern.ts';
import { operationsOf } from './istio-operations.ts';
import type { Manifest } from './istio-document.ts';
import type { Rule, RuleCondition, RuleSubject } from './rules.ts';

export type Refuse = (at: Manifest, message: string, remedy: string) => void;

export interface IstioRulesOptions {
  readonly action: Rule['action'];
  readonly trustDomains: readonly string[];
  readonly providers: ReadonlyMap<string, string>;
  readonly refuse: Refuse;
}

/** Conditions that all hold; of several such lists one has to. */
type Alternatives = readonly (readonly RuleCondition[])[];

const ANY: Alternatives = [[]];
/** Of one rule of Istio. */
const MAX_RULES = 64;
const SOURCE_KEYS = [
  'principals',
  'notPrincipals',
  'namespaces',
  'notNamespaces',
  'serviceAccounts',
  'notServiceAccounts',
];
const TOKEN_KEYS = ['requestPrincipals', 'notRequestPrincipals'];

/** Rules of one AuthorizationPolicy as ours: one for each way in which its conditions can hold. */
export class IstioRules {
  readonly #options: IstioRulesOptions;

  constructor(options: IstioRulesOptions) {
    this.#options = options;
  }

  read(rule: Manifest, name: string): readonly Rule[] {
    this.#knownKeys(rule, ['from', 'to', 'when']);
    const { action, refuse } = this.#options;
    const to = operationsOf(rule.at('to'), refuse);
    const whens = cross(this.#list(rule.at('when')).map((condition) => this.#condition(condition)));
    const rules = this.#sources(rule.at('from')).flatMap(({ subject, tokens }) =>
      cross([tokens, whens]).map((when) => ({ action, from: [subject] as const, to, when })),
    );
    if (rules.length > MAX_RULES) refuse(rule, `it becomes ${rules.length} rules`, 'split it');
    return rules.map((each, index) => ({ name: rules.length === 1 ? name : `${name}.${index + 1}`, ...each }));
  }

  #sources(from: Manifest): readonly { readonly subject: RuleSubject; readonly tokens: Alternatives }[] {
    if (from.value === undefined) return [{ subject: { kind: 'anyone' }, tokens: ANY }];
    return this.#list(from).map((element) => {
      this.#knownKeys(element, ['source']);
      const source = element.at('source');
      this.#knownKeys(source, [...SOURCE_KEYS, ...TOKEN_KEYS]);
      return { subject: this.#subject(source), tokens: this.#tokens(source) };
    });
  }

  #subject(source: Manifest): RuleSubject {
    const { action, refuse } = this.#options;
    if (!source.keys.some((key) => SOURCE_KEYS.includes(key))) return { kind: 'anyone' };
    const lists = [
      this.#texts(source.at('principals')).map((text) => this.#principal(source.at('principals'), text)),
      this.#texts(source.at('namespaces')).flatMap((text) => this.#namespace(source.at('namespaces'), text)),
      this.#texts(source.at('serviceAccounts')).flatMap((text) => this.#account(source.at('serviceAccounts'), text)),
    ].filter((list) => list.length > 0);
    const not = this.#texts(source.at('notPrincipals')).map((text) =>
      this.#principal(source.at('notPrincipals'), text),
    );
    const others = [
      ...this.#texts(source.at('notNamespaces')).flatMap((text) => this.#namespace(source.at('notNamespaces'), text)),
      ...this.#texts(source.at('notServiceAccounts')).flatMap((text) =>
        this.#account(source.at('notServiceAccounts'), text),
      ),
    ];
    if (not.includes('*')) {
      if (action === 'deny' && lists.length === 0 && others.length === 0) return { kind: 'unverified' };
      refuse(
        source.at('notPrincipals'),
        'it is about requests without a peer',
        'only a DENY with nothing else can be kept',
      );
    }
    const [ids = [], ...more] = lists;
    if (more.length > 0) refuse(source, 'several lists that all have to fit', 'say it with `principals` alone');
    if (action === 'allow' && ids.length === 0) {
      refuse(source, 'it also fits requests without a verified peer', 'add `principals: ["*"]`');
    }
    const anybody = ids.includes('*');
    return {
      kind: 'peer',
      isVerified: anybody,
      spiffeIds: anybody ? [] : ids,
      notSpiffeIds: [...not, ...others].filter((id) => id !== '*'),
      trustDomains: [],
      notTrustDomains: [],
    };
  }

  /** `*`, or a pattern of SPIFFE IDs. */
  #principal(at: Manifest, text: string): string {
    if (text === '*') return text;
    // A prefix that ends at a segment is all beneath; any other one would cut through a name.
    return this.#id(at, `spiffe://${text.endsWith('/*') ? `${text.slice(0, -1)}**` : text}`, text);
  }

  #namespace(at: Manifest, text: string): readonly string[] {
    return this.#inDomains(at).map((domain) =>
      this.#id(at, `${domain}/ns/${text === '*' ? '**' : `${text}/**`}`, text),
    );
  }

  #account(at: Manifest, text: string): readonly string[] {
    const [namespace = '', account = '', ...more] = text.split('/');
    if (account === '' || more.length > 0)
      this.#options.refuse(at, `${text} is no account of a namespace`, 'write NAMESPACE/ACCOUNT');
    return this.#inDomains(at).map((domain) => this.#id(at, `${domain}/ns/${namespace}/sa/${account}`, text));
  }

  #inDomains(at: Manifest): readonly string[] {
    const { trustDomains, refuse } = this.#options;
    if (trustDomains.length === 0) refuse(at, 'of which trust domain is not said', 'give --trust-domain');
    return trustDomains.map((domain) => `spiffe://${domain}`);
  }

  #id(at: Manifest, id: string, text: string): string {
    try {
      if (id.replace(/\/\*\*$/, '').includes('*')) throw new SvidgateError('config_invalid', 'a wildcard');
      return parseIdPattern(id);
    } catch {
      this.#options.refuse(
        at,
        `${JSON.stringify(text)} cannot be kept`,
        'use whole names, or a prefix that ends with /*',
      );
      return id;
    }
  }

  #tokens(source: Manifest): Alternatives {
    const { action, refuse, providers } = this.#options;
    const not = source.at('notRequestPrincipals');
    if (not.value !== undefined) {
      const isAny = this.#texts(not).join() === '*';
      if (!isAny || action !== 'deny') refuse(not, 'it cannot be kept', 'only `["*"]` in a DENY: who has no token');
      return [[{ of: { kind: 'token' }, test: { kind: 'present', isPresent: false } }]];
    }
    const wanted = source.at('requestPrincipals');
    if (wanted.value === undefined) return ANY;
    return this.#texts(wanted).flatMap((text): Alternatives => {
      if (text === '*') return [[{ of: { kind: 'token' }, test: { kind: 'present', isPresent: true } }]];
      const [provider] = [...providers].find(([, issuer]) => text.startsWith(`${issuer}/`)) ?? [];
      if (provider === undefined) {
        refuse(wanted, `nobody is known who issues ${JSON.stringify(text)}`, 'give --provider NAME=ISSUER');
        return [];
      }
      const subject = text.slice((providers.get(provider) ?? '').length + 1);
      if (/\*./.test(subject))
        refuse(wanted, `${JSON.stringify(text)} cannot be kept`, 'use whole subjects, or a prefix');
      return testsOf(subject).map((test) => [{ of: { kind: 'claim', provider, path: ['sub'] }, test }]);
    });
  }

  #condition(condition: Manifest): Alternatives {
    this.#knownKeys(condition, ['key', 'values', 'notValues']);
    const { refuse } = this.#options;
    const values = this.#texts(condition.at('values'));
    const not = this.#texts(condition.at('notValues'));
    const places = this.#placesOf(condition.at('key'));
    if (places.some(({ kind }) => kind === 'claim') && values.some((value) => /^\*.|.\*$/.test(value))) {
      // Of a claim with several values one would have to fit.
      refuse(condition.at('values'), 'a part of a claim cannot be kept', 'list whole values, or `*`');
    }
    if (this.#options.action === 'deny' && places.some(isListInText)) {
      // Istio takes these apart at blanks.
      refuse(
        condition.at('key'),
        'a claim with several values in one text cannot be kept in a DENY',
        'say who is allowed',
      );
    }
    if (values.length + not.length === 0) refuse(condition, 'it has no values', 'give `values` or `notValues`');
    return places.flatMap((of) => cross([this.#anyOf(of, values), this.#noneOf(of, not, condition.at('notValues'))]));
  }

  #placesOf(key: Manifest): readonly RuleCondition['of'][] {
    const { refuse, providers } = this.#options;
    const text = typeof key.value === 'string' ? key.value : '';
    const [, header] = /^request\.headers\[([!-Z^-~]+)\]$/.exec(text) ?? [];
    if (header !== undefined) return [{ kind: 'header', name: header.toLowerCase() }];
    const claims = /^request\.auth\.claims((?:\[[^\]]+\])+)$/.exec(text)?.[1];
    const path =
      text === 'request.auth.audiences'
        ? ['aud']
        : text === 'request.auth.presenter'
          ? ['azp']
          : claims?.slice(1, -1).split('][');
    if (path === undefined) {
      refuse(
        key,
        `${JSON.stringify(text)} cannot be kept`,
        'keys can be request.headers[…] and request.auth.claims[…]',
      );
      return [];
    }
    if (providers.size === 0) refuse(key, 'whose token is not said', 'give --provider NAME=ISSUER');
    return [...providers.keys()].map((provider) => ({ kind: 'claim', provider, path }));
  }

  #anyOf(of: RuleCondition['of'], values: readonly string[]): Alternatives {
    if (values.length === 0) return ANY;
    const exact = values.filter((value) => !value.includes('*'));
    return [
      ...(exact.length === 0 ? [] : [[{ of, test: { kind: 'in' as const, values: exact } }]]),
      ...values.filter((value) => value.includes('*')).flatMap((value) => testsOf(value).map((test) => [{ of, test }])),
    ];
  }

  /** What is not there is none of them either. */
  #noneOf(of: RuleCondition['of'], values: readonly string[], at: Manifest): Alternatives {
    if (values.length === 0) return ANY;
    const { refuse } = this.#options;
    const absent: RuleCondition = { of, test: { kind: 'present', isPresent: false } };
    if (values.join() === '*' && of.kind === 'header') return [[absent]];
    if (values.some((value) => value.includes('*'))) refuse(at, 'a wildcard cannot be kept here', 'list whole values');
    if (of.kind === 'claim') refuse(at, 'it also fits requests without a token', 'say which values are right');
    return [[absent], [{ of, test: { kind: 'not_in', values } }]];
  }

  #texts(list: Manifest): readonly string[] {
    const texts = this.#list(list).map(({ value }) => value);
    const wrong = texts.findIndex((text) => typeof text !== 'string' || text === '');
    if (wrong !== -1) this.#options.refuse(list, 'not a list of texts', 'give texts');
    return texts.filter((text): text is string => typeof text === 'string');
  }

  #list(list: Manifest): readonly Manifest[] {
    const { elements, value } = list;
    if (value !== undefined && (elements === undefined || elements.length === 0)) {
      this.#options.refuse(list, 'not a list with elements', 'give a list, or leave it out');
    }
    return elements ?? [];
  }

  #knownKeys(mapping: Manifest, known: readonly string[]): void {
    for (const key of mapping.keys.filter((each) => !known.includes(each))) {
      this.#options.refuse(mapping.at(key), `\`${key}\` has no counterpart`, `${known.join(', ')} can be kept`);
    }
    if (typeof mapping.value !== 'object' || mapping.value === null || mapping.elements !== undefined) {
      this.#options.refuse(mapping, 'not a mapping', `give ${known.join(', ')}`);
    }
  }
}

/** `scope` and `permission` hold words with blanks between them (RFC 8693, section 4.2). */
function isListInText(of: RuleCondition['of']): boolean {
  return of.kind === 'claim' && ['scope', 'permission'].includes(of.path.join(' '));
}

/** Of one value: the whole, a prefix, a suffix, or that it is there. */
function testsOf(value: string): readonly RuleCondition['test'][] {
  if (value === '*') return [{ kind: 'present', isPresent: true }];
  if (value.endsWith('*')) return [{ kind: 'prefix', text: value.slice(0, -1) }];
  if (value.startsWith('*')) return [{ kind: 'suffix', text: value.slice(1) }];
  return [{ kind: 'in', values: [value] }];
}

/** One of each at once. */
function cross(all: readonly Alternatives[]): Alternatives {
  return all.reduce<Alternatives>(
    (before, next) => before.flatMap((one) => next.map((other) => [...one, ...other])),
    ANY,
  );
}

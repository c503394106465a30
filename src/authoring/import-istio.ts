import { sortMistakes, type Mistake } from '../config/index.ts';
import { readManifests, type Manifest } from './istio-document.ts';
import { IstioRules } from './istio-rules.ts';
import type { Rule, RuleSet } from './rules.ts';

export interface IstioOptions {
  /** In the place of the mesh's own trust domain; all that there are. For namespaces and service accounts. */
  readonly trustDomains: readonly string[];
  /** Issuers of tokens by the names of authz.jwt_providers. */
  readonly providers: ReadonlyMap<string, string>;
  /** Of one workload: which policies are its own. Absent: all of the file have to be of the same one. */
  readonly workload?: { readonly namespace: string; readonly labels: ReadonlyMap<string, string> };
  /** Whose policies hold for all namespaces. Default istio-system. */
  readonly rootNamespace?: string;
}

export type ImportedIstio =
  | {
      readonly rules: RuleSet;
      /** What is otherwise than in the mesh, or was not taken. */
      readonly remarks: readonly string[];
      readonly mistakes?: never;
    }
  | { readonly mistakes: readonly [Mistake, ...Mistake[]]; readonly rules?: never };

interface IstioPolicy {
  readonly manifest: Manifest;
  readonly name: string;
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, string>;
}

const KIND = 'AuthorizationPolicy';
const API = /^security\.istio\.io\/v1(?:beta1)?$/;
const SPEC_KEYS = ['action', 'rules', 'selector'];

/**
 * Makes rules of Istio's AuthorizationPolicies (istio.io/latest/docs/reference/config/security/authorization-policy). What rules
 * cannot say exactly is a mistake, with what to do; never an approximation.
 */
export function importIstio(text: string, file: string, options: IstioOptions): ImportedIstio {
  const importer = new Importer(file, options);
  const rules = importer.run(text);
  const [first, ...others] = sortMistakes(importer.mistakes);
  if (first !== undefined) return { mistakes: [first, ...others] };
  return { rules: { package: 'envoy.authz', rules }, remarks: importer.remarks };
}

class Importer {
  readonly mistakes: Mistake[] = [];
  readonly remarks: string[] = [
    'paths that services may read in more than one way are denied, whatever a rule says',
    'a peer counts only when svidgate verified its certificate, and a token only when svidgate verified it',
  ];
  readonly #file: string;
  readonly #options: IstioOptions;

  constructor(file: string, options: IstioOptions) {
    this.#file = file;
    this.#options = options;
  }

  run(text: string): readonly Rule[] {
    const { manifests, mistakes } = readManifests(text, this.#file);
    this.mistakes.push(...mistakes);
    if (mistakes.length > 0) return [];
    const policies = this.#ofWorkload(manifests.flatMap((manifest) => this.#policy(manifest)));
    const rules = policies.flatMap((policy) => this.#rules(policy));
    if (policies.length === 0) {
      const mistake = { file: this.#file, line: 1, column: 1, message: `there is no ${KIND} of the workload` };
      if (this.mistakes.length === 0)
        this.mistakes.push({ ...mistake, remedy: 'name a file with one, or other labels' });
    }
    if (policies.length > 0 && !policies.some(({ manifest }) => actionOf(manifest) === 'ALLOW')) {
      this.remarks.push('no policy allows anything, so that all that is not denied is allowed, as in the mesh');
      return [...rules, { name: 'all else', action: 'allow', from: [{ kind: 'anyone' }], to: [], when: [] }];
    }
    return rules;
  }

  #policy(manifest: Manifest): readonly IstioPolicy[] {
    const kind = manifest.at('kind').value;
    const name = textOf(manifest.at('metadata').at('name')) ?? '';
    if (kind !== KIND) {
      this.remarks.push(`${textOf(manifest.at('kind')) ?? 'a document'} ${name} was not looked at`.trimEnd());
      return [];
    }
    if (!API.test(textOf(manifest.at('apiVersion')) ?? '')) {
      this.#refuse(manifest.at('apiVersion'), 'an unknown version', 'use security.istio.io/v1');
    }
    const spec = manifest.at('spec');
    for (const key of spec.keys.filter((each) => !SPEC_KEYS.includes(each))) {
      this.#refuse(spec.at(key), `\`${key}\` has no counterpart`, 'name the workload by `selector`');
    }
    const selector = spec.at('selector').at('matchLabels');
    const labels = new Map(selector.keys.map((key) => [key, String(selector.at(key).value)]));
    return [{ manifest, name, namespace: textOf(manifest.at('metadata').at('namespace')) ?? 'default', labels }];
  }

  #ofWorkload(policies: readonly IstioPolicy[]): readonly IstioPolicy[] {
    const { workload, rootNamespace = 'istio-system' } = this.#options;
    if (workload !== undefined) {
      return policies.filter(
        ({ namespace, labels }) =>
          [workload.namespace, rootNamespace].includes(namespace) &&
          [...labels].every(([key, value]) => workload.labels.get(key) === value),
      );
    }
    const keyOf = ({ namespace, labels }: IstioPolicy): string =>
      JSON.stringify([namespace, [...labels].map(([key, value]) => `${key}=${value}`).sort()]);
    const [first] = policies;
    for (const policy of policies) {
      if (first === undefined || keyOf(policy) === keyOf(first)) continue;
      this.#refuse(policy.manifest, `${policy.name} is about other workloads than ${first.name}`, 'give --workload');
    }
    return policies;
  }

  #rules({ manifest, name }: IstioPolicy): readonly Rule[] {
    const spec = manifest.at('spec');
    const action = actionOf(manifest);
    if (action !== 'ALLOW' && action !== 'DENY') {
      this.#refuse(spec.at('action'), `the action ${action} has no counterpart`, 'use ALLOW or DENY');
      return [];
    }
    const reader = new IstioRules({
      ...this.#options,
      action: action === 'ALLOW' ? 'allow' : 'deny',
      refuse: (place, message, remedy) => this.#refuse(place, message, remedy),
    });
    const rules = spec.at('rules');
    if (rules.value !== undefined && rules.elements === undefined) this.#refuse(rules, 'not a list', 'give a list');
    return (rules.elements ?? []).flatMap((rule, index) => reader.read(rule, `${nameOf(name)}-${index + 1}`));
  }

  #refuse(at: Manifest, message: string, remedy: string): void {
    this.mistakes.push({ file: this.#file, ...at.place, message, remedy });
  }
}

function actionOf(manifest: Manifest): string {
  const { value } = manifest.at('spec').at('action');
  return value === undefined ? 'ALLOW' : typeof value === 'string' ? value : JSON.stringify(value);
}

function textOf(manifest: Manifest): string | undefined {
  return typeof manifest.value === 'string' ? manifest.value : undefined;
}

function nameOf(name: string): string {
  return /^[A-Za-z][A-Za-z0-9._-]{0,80}$/.test(name)
    ? name
    : `policy-${name.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 60)}`;
}

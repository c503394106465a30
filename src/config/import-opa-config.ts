import { sortMistakes, type Mistake } from './mistake.ts';
import { parseListenAddress } from './listen-address.ts';
import { parseYamlTree, type YamlTree } from './yaml-tree.ts';

/** An `authz` section as it would be written. */
export interface ImportedAuthz {
  readonly listen: string;
  readonly any_authority: true;
  readonly deny_body: 'none';
  readonly dry_run?: true;
  readonly skip_request_body_parse?: true;
  readonly proto_descriptor?: string;
  readonly max_request_bytes?: number;
  readonly policies: { readonly default: { readonly path: string; readonly entrypoint: string } };
}

/** What is otherwise than the file says, or has to be done by hand. */
export interface ImportDifference {
  /** The key of the file; empty for what holds for each file. */
  readonly key: string;
  readonly line: number;
  readonly text: string;
}

export type ImportedOpaConfig =
  | { readonly authz: ImportedAuthz; readonly differences: readonly ImportDifference[]; readonly mistakes?: never }
  | { readonly mistakes: readonly [Mistake, ...Mistake[]]; readonly authz?: never };

type Mapping = Readonly<Record<string, unknown>>;

const PLUGIN_NAMES = ['envoy_ext_authz_grpc', 'envoy.ext_authz.grpc'] as const;
const MIN_REQUEST_BYTES = 1024;
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

/** Keys of the plugin that need nothing, with what svidgate has in their place. */
const PLUGIN_REMARKS: Readonly<Record<string, string>> = {
  'enable-reflection': 'reflection is always on',
  'enable-performance-metrics': 'metrics are always on, under other names: docs/reference/metrics.md',
  'grpc-request-duration-seconds-buckets': 'buckets are fixed',
  'grpc-max-send-msg-size': 'there is no limit of its own for replies',
};

/** Keys of OPA beside the plugin. */
const OPA_REMARKS: Readonly<Record<string, string>> = {
  services: 'become whole addresses, `bundle.url` and `decision_log.opa.url`, each with its token and its CA',
  bundles:
    'becomes `authz.policies.default.bundle` in the place of `path`: `url`, `token_file`, `tls`; `verify` for `signing`',
  bundle:
    'becomes `authz.policies.default.bundle` in the place of `path`: `url`, `token_file`, `tls`; `verify` for `signing`',
  discovery: 'has no counterpart: svidgate.yaml is the configuration',
  decision_logs: 'become the section `decision_log`, whose `opa.url` takes the same receiver',
  status: 'has no counterpart: `svidgate status`, /ready and /metrics tell the state',
  keys: 'become `authz.policy_keys`; `verify` of a policy names those that count',
  distributed_tracing: 'has no counterpart: decision records have the ids of the trace and the span',
  labels: 'become `decision_log.labels`',
  caching: '`authz.http_send.cache.max_bytes` bounds what `http.send` keeps; `authz.http_send.allow` turns it on',
  server: 'has no counterpart: OPA’s own API is not served',
  storage: 'has no counterpart',
  persistence_directory: 'has no counterpart: compiled policies and the last good bundles are kept in `data_dir`',
  default_decision: 'has no counterpart: `entrypoint` decides',
  default_authorization_decision: 'has no counterpart',
  nd_builtin_cache: 'is always recorded, as far as it holds no secret',
};

/**
 * Turns a configuration of OPA with its Envoy plugin, as YAML or JSON, into an `authz` section, and names what does not
 * carry over. Never throws because of the text.
 */
export function importOpaConfig(text: string, file: string): ImportedOpaConfig {
  const tree = parseYamlTree(text, file);
  const [syntax] = sortMistakes(tree.mistakes);
  if (syntax !== undefined) return { mistakes: [syntax, ...sortMistakes(tree.mistakes).slice(1)] };
  const importer = new Importer(tree, file);
  const authz = importer.run();
  const [first, ...others] = sortMistakes(importer.mistakes);
  if (first !== undefined) return { mistakes: [first, ...others] };
  if (authz === undefined) throw new Error('a refused configuration has at least one mistake');
  return { authz, differences: importer.differences.toSorted((a, b) => order(a) - order(b)) };
}

/** In the order of the file; what holds for each file last. */
function order({ key, line }: ImportDifference): number {
  return key === '' ? Number.MAX_SAFE_INTEGER : line;
}

class Importer {
  readonly differences: ImportDifference[] = [];
  readonly mistakes: Mistake[] = [];
  readonly #tree: YamlTree;
  readonly #file: string;

  constructor(tree: YamlTree, file: string) {
    this.#tree = tree;
    this.#file = file;
  }

  run(): ImportedAuthz | undefined {
    const root = this.#tree.value;
    const plugins = isMapping(root) ? root['plugins'] : undefined;
    const names = isMapping(plugins) ? PLUGIN_NAMES.filter((each) => plugins[each] !== undefined) : [];
    const [name, second] = names;
    if (!isMapping(root) || !isMapping(plugins) || name === undefined) {
      const remedy = `name a configuration of OPA with \`plugins.${PLUGIN_NAMES[0]}\``;
      this.#mistake([], 'there is no configuration of the Envoy plugin', remedy);
      return undefined;
    }
    if (second !== undefined)
      this.#mistake(['plugins', second], 'the plugin is configured twice', 'keep one of the two');
    const given = plugins[name] ?? {};
    if (!isMapping(given)) {
      this.#mistake(['plugins', name], 'the configuration of the plugin is no mapping', 'give its keys');
      return undefined;
    }
    const authz = this.#plugin(given, ['plugins', name]);
    for (const key of Object.keys(plugins)) {
      if (key !== name) this.#differ(['plugins', key], 'is not taken: another plugin');
    }
    for (const key of Object.keys(root)) {
      if (key !== 'plugins') this.#differ([key], remarkFor(OPA_REMARKS, key));
    }
    this.#remarkAll(authz);
    return authz;
  }

  #plugin(given: Mapping, place: readonly string[]): ImportedAuthz {
    for (const key of Object.keys(given)) {
      if (TAKEN.has(key)) continue;
      this.#differ([...place, key], remarkFor(PLUGIN_REMARKS, key));
    }
    const maxBytes = this.#maxBytes(given, place);
    const descriptor = this.#text(given, 'proto-descriptor', place);
    return {
      listen: this.#listen(given, place),
      any_authority: true,
      deny_body: 'none',
      ...(this.#flag(given, 'dry-run', place) ? { dry_run: true } : {}),
      ...(this.#flag(given, 'skip-request-body-parse', place) ? { skip_request_body_parse: true } : {}),
      ...(descriptor === undefined || descriptor === '' ? {} : { proto_descriptor: descriptor }),
      ...(maxBytes === undefined ? {} : { max_request_bytes: maxBytes }),
      policies: { default: { path: './policies/rego', entrypoint: this.#entrypoint(given, place) } },
    };
  }

  /** Others may reach what the plugin listens on; the gate is for this machine. */
  #listen(given: Mapping, place: readonly string[]): string {
    const text = this.#text(given, 'addr', place) ?? ':9191';
    const at = [...place, 'addr'];
    if (text.startsWith('unix://')) {
      const path = text.slice('unix://'.length);
      if (!path.startsWith('@')) return `unix:${path}`;
      this.#differ(at, 'is an abstract socket; a socket file takes its place: set it in Envoy');
      return 'unix:./run/authz.sock';
    }
    const address = text.replace(/^grpc:\/\//, '');
    const [, host = '', port = ''] = /^(.*):(\d{1,5})$/.exec(address) ?? [];
    try {
      parseListenAddress(address, { folder: '/', loopbackOnly: true });
      return address;
    } catch {
      if (port === '' || Number(port) > 65_535) {
        this.#mistake(at, `\`addr\` is ${JSON.stringify(text)}`, 'expected grpc://HOST:PORT or unix:///PATH');
      } else {
        const all = host === '' || host === '0.0.0.0' || host === '[::]' ? 'all addresses' : host;
        this.#differ(at, `listens on ${all}; svidgate listens on loopback, or better on a Unix socket`);
      }
      return `127.0.0.1:${port}`;
    }
  }

  #entrypoint(given: Mapping, place: readonly string[]): string {
    const path = this.#text(given, 'path', place);
    const query = this.#text(given, 'query', place);
    if (path !== undefined && query !== undefined) {
      this.#mistake([...place, 'query'], '`path` and `query` are both given', 'leave `query` out, as OPA says');
    }
    const entrypoint = path?.replace(/^\/+|\/+$/g, '') ?? fromQuery(query);
    const key = path === undefined ? 'query' : 'path';
    if (entrypoint === undefined) return 'envoy/authz/allow';
    const segments = entrypoint.split('/');
    const isPath = !entrypoint.startsWith('data.') && entrypoint.length <= 255;
    if (
      isPath &&
      segments.every((segment) => /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/.test(segment) && !/^\d+$/.test(segment))
    ) {
      return entrypoint;
    }
    this.#differ(
      [...place, key],
      'is no rule or package; write a rule that says the same, and name it as `entrypoint`',
    );
    return 'envoy/authz/allow';
  }

  #maxBytes(given: Mapping, place: readonly string[]): number | undefined {
    const key = 'grpc-max-recv-msg-size';
    const value = given[key];
    if (value === undefined || value === null) return undefined;
    // OPA takes it as a text, too.
    const bytes = typeof value === 'string' || typeof value === 'number' ? Number(value) : 0;
    if (!Number.isInteger(bytes) || bytes <= 0) {
      this.#mistake([...place, key], `\`${key}\` is no number of bytes`, 'give a whole number');
      return undefined;
    }
    const bounded = Math.min(MAX_REQUEST_BYTES, Math.max(MIN_REQUEST_BYTES, bytes));
    if (bounded !== bytes) this.#differ([...place, key], `is ${bytes}; svidgate takes up to ${bounded} bytes`);
    return bounded;
  }

  #text(given: Mapping, key: string, place: readonly string[]): string | undefined {
    const value = given[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'string') {
      if (/\$\{[^}]*\}/.test(value))
        this.#differ([...place, key], 'has an environment variable, which stays as it is written');
      return value;
    }
    this.#mistake([...place, key], `\`${key}\` is no text`, 'give a text, as the plugin asks for');
    return undefined;
  }

  #flag(given: Mapping, key: string, place: readonly string[]): boolean {
    const value = given[key] ?? false;
    if (typeof value === 'boolean') return value;
    this.#mistake([...place, key], `\`${key}\` is neither true nor false`, 'give true or false');
    return false;
  }

  /** What differs whatever the file says. */
  #remarkAll(authz: ImportedAuthz): void {
    const remarks = [
      `put the Rego and the data that OPA was given into ${authz.policies.default.path}`,
      'where no decision can be made the request is denied; the plugin gives a gRPC error: `on_error: grpc`',
      'headers that move a request elsewhere, and a deny with a success status, are denied: `reply`',
      'all other differences: docs/compatibility.md',
    ];
    if (authz.dry_run === true) remarks.unshift('the dry run goes on: what the policy denies is let through');
    for (const text of remarks) this.differences.push({ key: '', line: 0, text });
  }

  #differ(path: readonly string[], text: string): void {
    const { line } = this.#tree.placeOf(path, 'key');
    this.differences.push({ key: path.join('.'), line, text });
  }

  #mistake(path: readonly string[], message: string, remedy: string): void {
    this.mistakes.push({ file: this.#file, ...this.#tree.placeOf(path, 'value'), message, remedy });
  }
}

/** Keys of the plugin that become keys of ours. */
const TAKEN = new Set([
  'addr',
  'path',
  'query',
  'dry-run',
  'skip-request-body-parse',
  'proto-descriptor',
  'grpc-max-recv-msg-size',
]);

/** `envoy/authz/allow` of `data.envoy.authz.allow`; what is no such reference stays as it is. */
function fromQuery(query: string | undefined): string | undefined {
  if (query === undefined || query.trim() === '') return undefined;
  const reference = /^\s*data((?:\.[A-Za-z_]\w*)+)\s*$/.exec(query)?.[1];
  return reference === undefined ? query : reference.slice(1).replaceAll('.', '/');
}

function remarkFor(remarks: Readonly<Record<string, string>>, key: string): string {
  return Object.hasOwn(remarks, key) ? (remarks[key] ?? '') : 'is not known, and not taken';
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

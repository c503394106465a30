import { dirname, join } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import type { ListenAddress } from './config.ts';
import type { ReportMistake } from './fields.ts';
import { httpListenersOf, type RawHttp } from './gate-http-config.ts';
import { formatListenAddress, parseSocketPath } from './listen-address.ts';
import { formatPath, type DocumentPath } from './mistake.ts';

/** The parts of a configuration that listen; a part is absent when it is off or wrong by itself. */
export interface Listening {
  readonly workload_socket?: string | undefined;
  readonly admin?: { readonly socket: string } | undefined;
  readonly authz?:
    | {
        readonly listen: ListenAddress;
        readonly listeners?: Readonly<Record<string, { readonly listen: ListenAddress }>> | undefined;
        readonly http?: Partial<RawHttp> | undefined;
      }
    | undefined;
  readonly telemetry?: { readonly listen?: ListenAddress | undefined } | undefined;
}

/** Each server needs an address of its own. Port 0 is always one. */
export function checkDistinctAddresses(config: Listening, report: ReportMistake): void {
  const taken = new Map<string, DocumentPath>();
  for (const [path, address] of addressesOf(config)) {
    if (address === undefined || (address.kind === 'tcp' && address.port === 0)) continue;
    const text = formatListenAddress(address);
    const other = taken.get(text);
    taken.set(text, path);
    if (other === undefined) continue;
    const message = `\`${formatPath(path)}\` is the same address as \`${formatPath(other)}\``;
    report(path, message, 'give each its own');
  }
}

function addressesOf(
  config: Listening,
): readonly (readonly [path: DocumentPath, address: ListenAddress | undefined])[] {
  const unix = (path: string | undefined): ListenAddress | undefined =>
    path === undefined ? undefined : { kind: 'unix', path };
  const listeners = Object.entries(config.authz?.listeners ?? {});
  const http = httpListenersOf(config.authz?.http);
  return [
    [['workload_socket'], unix(config.workload_socket)],
    [['admin', 'socket'], unix(config.admin?.socket)],
    [['authz', 'listen'], config.authz?.listen],
    ...listeners.map(([name, { listen }]) => [['authz', 'listeners', name, 'listen'], listen] as const),
    ...http.map(([path, { listen }]) => [['authz', ...path, 'listen'], listen] as const),
    [['telemetry', 'listen'], config.telemetry?.listen],
  ];
}

/** Each further name of the workload socket is a file of its own beside it, that can be connected to. */
export function checkSocketAliases(
  config: Listening & {
    readonly workload_socket_aliases?: readonly string[] | undefined;
    readonly upstream_workload_socket?: string | undefined;
  },
  report: ReportMistake,
): void {
  const { workload_socket: socket, workload_socket_aliases: aliases = [], upstream_workload_socket: upstream } = config;
  if (socket === undefined) return;
  const taken = new Map<string, string>();
  if (upstream !== undefined) taken.set(upstream, '`upstream_workload_socket`');
  for (const [path, address] of addressesOf(config))
    if (address?.kind === 'unix') taken.set(address.path, `\`${formatPath(path)}\``);
  for (const [index, name] of aliases.entries()) {
    const file = join(dirname(socket), name);
    const other = taken.get(file);
    taken.set(file, 'another alias');
    const place = ['workload_socket_aliases', index];
    if (other !== undefined) report(place, `\`${name}\` is ${other} already`, 'leave it out, or choose another name');
    else reportLongPath(file, (message) => report(place, message, 'choose a shorter name'));
  }
}

function reportLongPath(file: string, report: (message: string) => void): void {
  try {
    parseSocketPath(file, '/');
  } catch (error) {
    report(SvidgateError.from(error).message);
  }
}

/** Envoy asks by name, so two meanings need two names. */
export function checkDistinctNames(
  names: Readonly<
    Partial<Record<'default_svid_name' | 'default_bundle_name' | 'default_all_bundles_name', string | undefined>>
  >,
  report: ReportMistake,
): void {
  const taken = new Map<string, string>();
  for (const key of ['default_svid_name', 'default_bundle_name', 'default_all_bundles_name'] as const) {
    const name = names[key];
    if (name === undefined) continue;
    const other = taken.get(name);
    taken.set(name, key);
    if (other === undefined) continue;
    report([key], `\`sds.${key}\` is the same name as \`sds.${other}\``, 'give each its own');
  }
}

/** The agent's socket is named when SVIDs come from it, and only then. */
export function checkIdentitySource(
  config: {
    readonly identity_source?: 'authority' | 'workload_api' | undefined;
    readonly upstream_workload_socket?: string | undefined;
    readonly workload_socket?: string | undefined;
  },
  report: ReportMistake,
): void {
  const { identity_source: source, upstream_workload_socket: upstream } = config;
  if (source === 'workload_api' && upstream === undefined) {
    const message = '`identity_source` is `workload_api`, and `upstream_workload_socket` is missing';
    report(['identity_source'], message, "name the socket of the agent's Workload API");
  } else if (source === 'authority' && upstream !== undefined) {
    const message = '`upstream_workload_socket` has no meaning for this `identity_source`';
    report(['upstream_workload_socket'], message, 'leave it out, or set `identity_source: workload_api`');
  } else if (upstream !== undefined && upstream === config.workload_socket) {
    const message = '`upstream_workload_socket` is the same address as `workload_socket`';
    report(['upstream_workload_socket'], message, 'svidgate cannot get its identities from itself');
  }
}

const NEEDED = {
  generic: ['file'],
  tls_certificate: ['certificate_file', 'private_key_file'],
  validation_context: ['ca_file'],
  session_tickets: [],
} as const;
const POSSIBLE = ['file', 'certificate_file', 'private_key_file', 'ca_file', 'seed_file', 'rotate_every', 'keep_old'];
const OF_TICKETS = ['seed_file', 'rotate_every', 'keep_old'];

/** Each kind of secret has its own keys. */
export function checkStaticSecret(
  secret: { readonly kind?: keyof typeof NEEDED | undefined } & Readonly<Record<string, unknown>>,
  report: ReportMistake,
  wrong: ReadonlySet<PropertyKey>,
): void {
  const { kind } = secret;
  if (kind === undefined) return;
  const needed: readonly string[] = NEEDED[kind];
  for (const key of needed) {
    if (secret[key] === undefined && !wrong.has(key)) report([], `\`${key}\` is missing`, `\`kind: ${kind}\` needs it`);
  }
  const fitting = kind === 'session_tickets' ? OF_TICKETS : needed;
  for (const key of POSSIBLE) {
    if (secret[key] === undefined || fitting.includes(key)) continue;
    report([key], `\`${key}\` has no meaning for \`kind: ${kind}\``, 'leave it out');
  }
}

/** What the `sds` section names elsewhere in the file is there, and no name means two things. */
export function checkSdsReferences(
  config: {
    readonly sds?:
      | {
          readonly default_svid_name: string;
          readonly default_bundle_name: string;
          readonly default_all_bundles_name: string;
          readonly secrets?: Readonly<Record<string, unknown>> | undefined;
          readonly peers?:
            Readonly<Record<string, { readonly policy_data?: { readonly policy: string } | undefined }>> | undefined;
        }
      | undefined;
    readonly authz?: { readonly policies: Readonly<Record<string, unknown>> } | undefined;
  },
  report: ReportMistake,
  wrong: ReadonlySet<PropertyKey>,
): void {
  const { sds, authz } = config;
  if (sds === undefined) return;
  for (const [name, { policy_data: data }] of Object.entries(sds.peers ?? {})) {
    if (data === undefined || wrong.has('authz') || Object.hasOwn(authz?.policies ?? {}, data.policy)) continue;
    const message = `there is no policy \`${data.policy}\``;
    report(['sds', 'peers', name, 'policy_data'], message, 'name one of `authz.policies`');
  }
  for (const key of ['default_svid_name', 'default_bundle_name', 'default_all_bundles_name'] as const) {
    if (!Object.hasOwn(sds.secrets ?? {}, sds[key])) continue;
    report(['sds', 'secrets', sds[key]], `\`${sds[key]}\` is \`sds.${key}\` already`, 'give the secret another name');
  }
}

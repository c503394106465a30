import { SvidgateError } from '../core/index.ts';
import { parseDnsName, parseSpiffeId, pathOf, type SpiffeId, type SpiffeIdPattern } from '../spiffe/index.ts';
import type { ListenAddress } from './config.ts';
import { durationField, listField, namedFields, optionalField, sectionField, textField, type Field } from './fields.ts';
import type { RawHttp } from './gate-http-config.ts';
import { listenField, spiffeIdPatternField } from './schema-fields.ts';

/** One place where the gate listens, and who may ask there for what. */
export interface GateListenerConfig {
  /** In addresses, log lines and metrics: `gate` is the first, `gate:NAME` each further one; over HTTP `http` and `http:NAME`. */
  readonly name: 'gate' | `gate:${string}` | 'http' | `http:${string}`;
  readonly listen: ListenAddress;
  /** Absent: without TLS. Its callers are proven by their certificates. */
  readonly tls?: GateTlsConfig;
  /** Policies that can be asked for here. */
  readonly policies: ReadonlySet<string>;
  /** What a request that names no policy asks for. */
  readonly defaultPolicy: string;
  /** Who may ask, and for what. Absent: every attested caller, for all policies. */
  readonly callers?: readonly GateCallerConfig[];
}

export interface GateTlsConfig {
  /** Whose X.509-SVID the gate shows. Of our own trust domain. */
  readonly spiffeId: SpiffeId;
  /** In that SVID, for callers that know no SPIFFE IDs. */
  readonly dnsNames?: readonly string[];
}

export interface GateCallerConfig {
  readonly pattern: SpiffeIdPattern;
  /** Some of the listener's. */
  readonly policies: ReadonlySet<string>;
}

/** What fits into one file-system name and one metric label. */
export const POLICY_NAME = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  patternText: 'use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit',
} as const;

const DEFAULT_POLICY = 'default';
const FIRST_ADDRESS = '127.0.0.1:9191';
const ADDRESS_KINDS = '`unix:PATH`, or `HOST:PORT`: loopback, or any address with `tls`';

/** The keys of `authz` that are about listeners; `listen`, `callers` and `tls` are those of the first. */
export function gateFields(folder: string) {
  return {
    listen: listenField(folder, FIRST_ADDRESS, `Where ext_authz listens: ${ADDRESS_KINDS}.`),
    ...accessFields(),
    listeners: optionalField(
      namedFields(listenerSection(folder), {
        ...POLICY_NAME,
        description: 'Further listeners by name.',
        expected: 'at least one listener, such as `payments: { listen: unix:./run/payments.sock }`',
      }),
    ),
    drain_time: durationField({
      description: 'How long the gate goes on as before, but for its health, when it is told to stop.',
      min: '0s',
      max: '5m',
      default: '0s',
    }),
  };
}

function listenerSection(folder: string) {
  return sectionField(
    {
      listen: listenField(folder, undefined, `Where it listens: ${ADDRESS_KINDS}.`),
      policies: optionalField(policyList('Policies that can be asked for here; all when left out.')),
      default_policy: defaultPolicyField(),
      ...accessFields(),
    },
    { description: 'One further listener.' },
  );
}

export function defaultPolicyField(): Field<string> {
  return textField({
    description: 'What a request that names no policy asks for.',
    expected: 'the name of a policy',
    default: DEFAULT_POLICY,
  });
}

export function accessFields() {
  const caller = sectionField(
    {
      spiffe_id: spiffeIdPatternField('Who: a SPIFFE ID, or `ID/**` for all beneath one.'),
      policies: optionalField(policyList("Policies that they may ask for; all of the listener's when left out.")),
    },
    { description: 'Some callers.' },
  );
  return {
    callers: optionalField(
      listField(caller, {
        description:
          'Who may ask: attested callers of a Unix socket, or holders of a certificate. Left out: whoever is attested.',
        expected: 'a list such as [{ spiffe_id: spiffe://prod.acme.test/edge }]',
        min: 1,
      }),
    ),
    tls: optionalField(
      sectionField(
        {
          spiffe_id: textField({ description: 'Whose X.509-SVID it shows.', expected: 'a SPIFFE ID' }, parseOwnId),
          dns_names: optionalField(
            listField(textField({ description: 'One name.', expected: 'a DNS name' }, parseGateName), {
              description: 'DNS names in that SVID, for callers that check no SPIFFE ID, such as Traefik.',
              expected: 'a list such as [gate.mesh.test]',
              min: 1,
            }),
          ),
        },
        {
          description: 'TLS with an X.509-SVID of the gate itself, for callers with a certificate. It needs `callers`.',
        },
      ),
    ),
  };
}

export function policyList(description: string): Field<string[]> {
  const name = textField({ description: 'One policy.', expected: 'the name of a policy' });
  return listField(name, { description, expected: 'a list of policies such as [default]', min: 1 });
}

function parseGateName(text: string): string {
  try {
    return parseDnsName(text);
  } catch (error) {
    throw new SvidgateError('config_invalid', SvidgateError.from(error).message);
  }
}

function parseOwnId(text: string): SpiffeId {
  const id = parseId(text);
  if (pathOf(id) === '') throw new SvidgateError('config_invalid', 'expected the ID of a workload, with a path');
  return id;
}

function parseId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    throw new SvidgateError('config_invalid', SvidgateError.from(error).message);
  }
}

interface RawAccess {
  readonly listen: ListenAddress;
  readonly tls?: { readonly spiffe_id: SpiffeId; readonly dns_names?: readonly string[] | undefined } | undefined;
  readonly callers?:
    readonly { readonly spiffe_id: SpiffeIdPattern; readonly policies?: readonly string[] | undefined }[] | undefined;
}

/** As the file has it, each of it right by itself. */
export interface RawListener extends RawAccess {
  readonly policies?: readonly string[] | undefined;
  readonly default_policy: string;
}

export type RawPolicies = Readonly<Record<string, { readonly shadow_of?: string | undefined }>>;

export interface RawGate extends RawAccess {
  readonly http?: RawHttp | undefined;
  readonly listeners?: Readonly<Record<string, RawListener>> | undefined;
}

/** The first listener and then the further ones, in the order of the file. */
export function toGateListeners(
  raw: RawGate & { readonly policies: RawPolicies },
): readonly [GateListenerConfig, ...GateListenerConfig[]] {
  const policies = askable(raw.policies);
  const first = toListener('gate', { ...raw, default_policy: DEFAULT_POLICY }, policies);
  const further = Object.entries(raw.listeners ?? {}).map(([name, listener]) =>
    toListener(`gate:${name}`, listener, listener.policies ?? policies),
  );
  return [first, ...further];
}

/** Policies that a request may ask for: a shadow is asked by its live policy alone. */
export function askable(policies: RawPolicies): readonly string[] {
  return Object.keys(policies).filter((name) => policies[name]?.shadow_of === undefined);
}

export function toListener(
  name: GateListenerConfig['name'],
  { listen, tls, callers, default_policy: defaultPolicy }: RawAccess & { readonly default_policy: string },
  policies: readonly string[],
): GateListenerConfig {
  return {
    name,
    listen,
    ...(tls === undefined
      ? {}
      : { tls: { spiffeId: tls.spiffe_id, ...(tls.dns_names === undefined ? {} : { dnsNames: tls.dns_names }) } }),
    policies: new Set(policies),
    defaultPolicy,
    ...(callers === undefined
      ? {}
      : {
          callers: callers.map(({ spiffe_id: pattern, policies: some }) => ({
            pattern,
            policies: new Set(some ?? policies),
          })),
        }),
  };
}

/** Whether callers of the listener stay unproven: they get its default policy only. */
export function isAnonymous({ listen, tls }: Pick<GateListenerConfig, 'listen' | 'tls'>): boolean {
  return listen.kind === 'tcp' && tls === undefined;
}

/** Policies, shadows aside, that no caller of any listener can ask for. */
export function unservedPolicies(authz: {
  readonly listeners: readonly GateListenerConfig[];
  readonly httpListeners: readonly GateListenerConfig[];
  readonly policies: ReadonlyMap<string, { readonly shadowOf?: string }>;
}): readonly string[] {
  const isServed = (policy: string): boolean =>
    [...authz.listeners, ...authz.httpListeners].some((listener) => {
      if (!listener.policies.has(policy)) return false;
      if (isAnonymous(listener)) return policy === listener.defaultPolicy;
      return listener.callers?.some((caller) => caller.policies.has(policy)) ?? true;
    });
  return [...authz.policies].flatMap(([name, { shadowOf }]) =>
    shadowOf !== undefined || isServed(name) ? [] : [name],
  );
}

import { SvidgateError } from '../core/index.ts';
import {
  choiceField,
  flagField,
  namedFields,
  optionalField,
  sectionField,
  textField,
  type ReportMistake,
} from './fields.ts';
import {
  accessFields,
  askable,
  defaultPolicyField,
  POLICY_NAME,
  policyList,
  toListener,
  type GateListenerConfig,
  type RawListener,
  type RawPolicies,
} from './gate-config.ts';
import type { DocumentPath } from './mistake.ts';
import { listenField } from './schema-fields.ts';

/** One place where the gate listens for HTTP. Nobody is anonymous there. */
export interface HttpListenerConfig extends GateListenerConfig {
  readonly name: 'http' | `http:${string}`;
  /** Who asks, and so which headers say what is asked. */
  readonly scheme: 'envoy' | 'nginx' | 'traefik';
  readonly path: {
    /** `/`, or a path without a slash at its end. */
    readonly prefix: string;
    /** Whether the next segment names the policy. */
    readonly hasPolicy: boolean;
  };
  /** Whether the peer's certificate is taken from `x-forwarded-client-cert`. */
  readonly isPeerInXfcc: boolean;
}

const ADDRESS_KINDS = '`unix:PATH`, or `HOST:PORT` with `tls`';

/** The section `authz.http`. */
export function httpSection(folder: string) {
  const listener = sectionField(listenerFields(folder), { description: 'One further listener.' });
  return sectionField(
    {
      ...listenerFields(folder),
      listeners: optionalField(
        namedFields(listener, {
          ...POLICY_NAME,
          description: 'Further listeners for HTTP by name.',
          expected: 'at least one listener, such as `nginx: { listen: unix:./run/nginx.sock, request: nginx }`',
        }),
      ),
    },
    { description: "ext_authz over HTTP, for Envoy's http_service, nginx and Traefik. Left out: it is not served." },
  );
}

function listenerFields(folder: string) {
  return {
    listen: listenField(folder, undefined, `Where HTTP is served: ${ADDRESS_KINDS}.`),
    request: textField(
      {
        description:
          "Whose headers say what is asked: Envoy's http_service, nginx's auth_request, Traefik's forwardAuth.",
        expected: 'one of `envoy`, `nginx`, `traefik`',
      },
      parseScheme,
    ),
    path_prefix: textField(
      {
        description: 'What the caller puts before the path; other paths are denied.',
        expected: 'a path such as /check',
        default: '/',
      },
      parsePrefix,
    ),
    policy_in_path: flagField({
      description: 'Whether the segment after `path_prefix` names the policy. The prefix is not `/` then.',
      default: false,
    }),
    peer: choiceField(['off', 'xfcc'], {
      description:
        "The peer's certificate: none with `off`, or the one that the asking Envoy itself writes into `x-forwarded-client-cert`, with " +
        '`SANITIZE_SET`, `cert: true` and `uri: true`.',
      default: 'off',
    }),
    policies: optionalField(policyList('Policies that can be asked for here; all when left out.')),
    default_policy: defaultPolicyField(),
    ...accessFields(),
  };
}

const SCHEMES = ['envoy', 'nginx', 'traefik'] as const;

/** Without a default: with the wrong one another request would be judged than is made. */
function parseScheme(text: string): HttpListenerConfig['scheme'] {
  const scheme = SCHEMES.find((each) => each === text);
  if (scheme === undefined) throw new SvidgateError('config_invalid', 'expected one of `envoy`, `nginx`, `traefik`');
  return scheme;
}

function parsePrefix(text: string): string {
  if (text === '/') return text;
  const prefix = text.replace(/\/$/, '');
  const isPlain = /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/.test(prefix);
  if (!isPlain || prefix.length > 255) {
    throw new SvidgateError('config_invalid', 'expected a path of plain segments, such as /check');
  }
  return prefix;
}

/** As the file has it, each of it right by itself. */
export interface RawHttpListener extends RawListener {
  readonly request: 'envoy' | 'nginx' | 'traefik';
  readonly path_prefix: string;
  readonly policy_in_path: boolean;
  readonly peer: 'off' | 'xfcc';
}

export interface RawHttp extends RawHttpListener {
  readonly listeners?: Readonly<Record<string, RawHttpListener>> | undefined;
}

/** None without the section. */
export function toHttpListeners(http: RawHttp | undefined, policies: RawPolicies): readonly HttpListenerConfig[] {
  if (http === undefined) return [];
  const further = Object.entries(http.listeners ?? {}).map(([name, listener]) => [`http:${name}`, listener] as const);
  return [['http', http] as const, ...further].map(([name, listener]) => ({
    ...toListener(name, listener, listener.policies ?? askable(policies)),
    name,
    scheme: listener.request,
    path: { prefix: listener.path_prefix, hasPolicy: listener.policy_in_path },
    isPeerInXfcc: listener.peer === 'xfcc',
  }));
}

/** The listeners of the section `authz.http` with their way from `authz`, and what of each is there. */
export function httpListenersOf(
  http: Partial<RawHttp> | undefined,
): readonly (readonly [path: DocumentPath, listener: Partial<RawHttpListener>])[] {
  if (http === undefined) return [];
  const further = Object.entries(http.listeners ?? {}).map(
    ([name, listener]) => [['http', 'listeners', name], listener] as const,
  );
  return [[['http'], http], ...further];
}

/** What of the listeners does not fit together. */
export function checkHttpListeners(http: Partial<RawHttp> | undefined, report: ReportMistake): void {
  for (const [path, { request, path_prefix: prefix, policy_in_path: inPath, peer }] of httpListenersOf(http)) {
    if (inPath === true && prefix === '/') {
      report(
        [...path, 'policy_in_path'],
        '`path_prefix` is missing',
        'give one, or the path of a client names the policy',
      );
    }
    if (peer === 'xfcc' && request !== undefined && request !== 'envoy') {
      report([...path, 'peer'], `${request} does not write x-forwarded-client-cert`, 'leave it out');
    }
  }
}

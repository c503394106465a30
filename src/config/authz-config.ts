import { SvidgateError } from '../core/index.ts';
import { policyDecisionLogField, toSampling } from './decision-log-config.ts';
import {
  choiceField,
  durationField,
  flagField,
  integerField,
  listField,
  namedFields,
  optionalField,
  sectionField,
  textField,
  type Field,
} from './fields.ts';
import { checkGate } from './gate-checks.ts';
import { gateFields, POLICY_NAME, toGateListeners, type GateListenerConfig } from './gate-config.ts';
import { egressSection, toEgressConfig, type EgressConfig } from './gate-egress-config.ts';
import { httpSection, toHttpListeners, type HttpListenerConfig } from './gate-http-config.ts';
import { httpSendSection, toHttpSendConfig, type HttpSendConfig } from './http-send-config.ts';
import { checkDistinctIssuers, peerFields, toPeerConfig, type PeerConfig } from './peer-config.ts';
import { checkVerify, policyKeysField, toVerify, verifyField, type PolicyVerifyConfig } from './policy-keys-config.ts';
import { checkOffload, offloadFields, offloadLeaseField, toOffload, type OffloadConfig } from './offload-config.ts';
import { bundleSection, toBundleConfig, type PolicyBundleConfig } from './policy-source-config.ts';
import { activationFields, toActivation, type PolicyActivationConfig } from './policy-activation-config.ts';
import { checkShadows, toTrial, trialFields } from './policy-trial-config.ts';
import { exactlyOne, pathField, requiredPathField } from './schema-fields.ts';

export interface AuthzConfig {
  /** Where it listens, the one of the section itself first. */
  readonly listeners: readonly [GateListenerConfig, ...GateListenerConfig[]];
  /** Where it listens for HTTP; none as a rule. */
  readonly httpListeners: readonly HttpListenerConfig[];
  /** What policies may have put into requests that leave; absent: nothing. */
  readonly egress?: EgressConfig;
  /** How long they go on, not healthy any more, when they are told to stop. */
  readonly drainTimeMs: number;
  /** What Envoy is told when no decision could be made: a denied response, the same with 500, or a gRPC error. */
  readonly onError: 'deny' | 'error_response' | 'grpc';
  /** Whether a peer of our trust domain without any entry is denied. */
  readonly denyUnregistered: boolean;
  /** Whether calls are served whatever their `:authority` is. */
  readonly anyAuthority: boolean;
  /** Whom policies may ask; absent: nobody. */
  readonly httpSend?: HttpSendConfig;
  /** The longest time one evaluation may take before it is a deny. */
  readonly evalTimeoutMs: number;
  /** The largest check request that is decoded; a larger one is a deny. */
  readonly maxRequestBytes: number;
  /** Whether the input document has no parsed_body. */
  readonly skipRequestBodyParse: boolean;
  /** Descriptors of the services whose gRPC bodies are parsed. */
  readonly protoDescriptorFile?: string;
  /** Whether what a policy denies is let through. */
  readonly dryRun: boolean;
  /** What is done with paths that services may read in more than one way. */
  readonly pathGuard: 'off' | 'reject' | 'normalize';
  /** Whether a deny has a body of ours, in the form the client asks for. */
  readonly denyBody: 'by_type' | 'none';
  readonly reply: ReplyConfig;
  /** How long an Envoy that hears nothing from us goes on deciding without calls. */
  readonly offloadLeaseMs: number;
  /** How the gate finds out who sent a request, beyond the peer's certificate. */
  readonly identity: PeerConfig;
  /** By name, at least one. `default` serves requests that name none; without it those are denied. */
  readonly policies: ReadonlyMap<string, PolicyConfig>;
}

/** What policies may ask Envoy for. */
export interface ReplyConfig {
  /** Guarded headers in lower case: exact names, or beginnings with a `*` at the end. */
  readonly allowedHeaders: readonly string[];
  readonly allowsSuccessOnDeny: boolean;
}

export interface PolicyConfig extends PolicyActivationConfig {
  /** Folder or file with Rego. Absent where it comes from elsewhere. */
  readonly path?: string;
  /** Where it comes from instead. */
  readonly bundle?: PolicyBundleConfig;
  /** Whose signature its bundle must bear. */
  readonly verify?: PolicyVerifyConfig;
  /** Slash-separated path of the rule or package that decides, such as `envoy/authz/allow`. */
  readonly entrypoint: string;
  /** The policy whose requests it is tried on. It decides none, and no request may ask for it. */
  readonly shadowOf?: string;
  /** Until then, in epoch milliseconds, its requests are let through whatever it says. */
  readonly unenforcedUntil?: number;
  /** The share of its plain allows that is recorded; default 1. */
  readonly sampleAllows?: number;
  /** Set where Envoy decides without a call what it can. */
  readonly offload?: OffloadConfig;
}

const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

export function authzSection(folder: string) {
  return sectionField(
    {
      ...gateFields(folder),
      http: optionalField(httpSection(folder)),
      egress: optionalField(egressSection()),
      on_error: choiceField(['deny', 'error_response', 'grpc'], {
        description: 'What Envoy gets when no decision could be made: a deny, an error response, or a gRPC error.',
        default: 'deny',
      }),
      deny_unregistered: flagField({
        description: 'Whether to deny peers of the own trust domain that no entry gives their SPIFFE ID to.',
        default: false,
      }),
      any_authority: flagField({
        description:
          'Whether calls are served whatever their `:authority` is, such as a cluster name with a pipe or a slash; ' +
          'otherwise Node resets them. The workload socket always does.',
        default: false,
      }),
      eval_timeout: durationField({
        description: 'The longest evaluation; then the request is denied.',
        min: '1ms',
        max: '1m',
        default: '100ms',
      }),
      http_send: optionalField(httpSendSection(folder)),
      max_request_bytes: integerField({
        description: 'The largest check request; a larger one is denied.',
        min: 1024,
        max: MAX_REQUEST_BYTES,
        default: 4 * 1024 * 1024,
        unit: 'bytes',
      }),
      ...inputFields(folder),
      ...replyFields(),
      ...peerFields(folder),
      offload_lease: offloadLeaseField(),
      policies: policiesField(folder),
      policy_keys: policyKeysField(folder),
    },
    { description: 'The gate. It is off when this section is left out.' },
    (value, report, wrong) => {
      checkDistinctIssuers(value, report);
      if (!wrong.has('policies')) {
        checkShadows(value, report);
        checkOffload(value, report);
      }
      if (!wrong.has('policies') && !wrong.has('policy_keys')) checkVerify(value, report);
      checkGate(value, report, wrong);
    },
  );
}

function inputFields(folder: string) {
  return {
    skip_request_body_parse: flagField({
      description: 'Whether the input has no `parsed_body` and no `truncated_body`.',
      default: false,
    }),
    proto_descriptor: optionalField(
      pathField(
        folder,
        undefined,
        'File with the FileDescriptorSet of services, with imports, whose gRPC bodies become `parsed_body`.',
      ),
    ),
    path_guard: choiceField(['off', 'reject', 'normalize'], {
      description:
        'Paths with `.` or `..` segments, `//`, `\\`, `;`, `%2f`, `%5c` or `%3b`: as they are, a 400, or normalized for the ' +
        'policy, which is right only where Envoy does the same.',
      default: 'off',
    }),
  };
}

function replyFields() {
  return {
    dry_run: flagField({
      description: 'Whether requests that a policy denies are let through. All other denies stay.',
      default: false,
    }),
    deny_body: choiceField(['by_type', 'none'], {
      description:
        'The body of a deny where the policy gives none: status and decision id as JSON, HTML or text, or nothing.',
      default: 'by_type',
    }),
    reply: sectionField(
      {
        allow_headers: optionalField(
          listField(
            textField({ description: 'One name.', expected: 'a header name, or `x-envoy-*`' }, parseGuardedHeader),
            {
              description:
                'Guarded headers that policies may set: `host`, `:path` and others with a colon, `x-envoy-*`.',
              expected: 'a list of header names such as `:path`',
            },
          ),
        ),
        allow_success_on_deny: flagField({
          description: 'Whether `http_status` of a deny may be below 300.',
          default: false,
        }),
      },
      { description: 'What policies may ask Envoy for; all else of this kind is a deny.' },
    ),
  };
}

function policiesField(folder: string) {
  const policy = sectionField(
    {
      path: optionalField(
        requiredPathField(folder, 'Folder or file with Rego, or an OPA bundle: a file that ends with .tar.gz.'),
      ),
      bundle: optionalField(bundleSection(folder)),
      verify: verifyField(),
      entrypoint: textField(
        {
          description: 'The rule, or the package, that decides.',
          expected: 'a rule such as envoy/authz/allow',
          default: 'envoy/authz/allow',
        },
        parseEntrypoint,
      ),
      ...trialFields(),
      decision_log: policyDecisionLogField(),
      ...offloadFields(),
      ...activationFields(),
    },
    { description: 'One policy.' },
    exactlyOne('policy', ['path', 'bundle']),
  );
  return namedFields(policy, {
    description: 'Policies by name; `default` serves requests that name none.',
    expected: 'at least one policy, such as `default: { path: ./policies/rego }`',
    ...POLICY_NAME,
    default: { default: { path: './policies/rego' } },
    defaultText: 'default: { path: ./policies/rego }',
  });
}

type Raw = ReturnType<typeof authzSection> extends Field<infer T> ? T : never;

export function toAuthzConfig(raw: Raw): AuthzConfig {
  return {
    listeners: toGateListeners(raw),
    httpListeners: toHttpListeners(raw.http, raw.policies),
    ...toEgressConfig(raw.egress),
    drainTimeMs: raw.drain_time,
    onError: raw.on_error,
    denyUnregistered: raw.deny_unregistered,
    anyAuthority: raw.any_authority,
    evalTimeoutMs: raw.eval_timeout,
    ...(raw.http_send === undefined ? {} : { httpSend: toHttpSendConfig(raw.http_send) }),
    maxRequestBytes: raw.max_request_bytes,
    skipRequestBodyParse: raw.skip_request_body_parse,
    ...(raw.proto_descriptor === undefined ? {} : { protoDescriptorFile: raw.proto_descriptor }),
    dryRun: raw.dry_run,
    pathGuard: raw.path_guard,
    denyBody: raw.deny_body,
    reply: {
      allowedHeaders: raw.reply.allow_headers ?? [],
      allowsSuccessOnDeny: raw.reply.allow_success_on_deny,
    },
    offloadLeaseMs: raw.offload_lease,
    identity: toPeerConfig(raw),
    policies: toPolicies(raw),
  };
}

function toPolicies(raw: Pick<Raw, 'policies' | 'policy_keys'>): AuthzConfig['policies'] {
  return new Map(
    Object.entries(raw.policies).map(([name, policy]) => {
      const { path, bundle, entrypoint } = policy;
      const verify = toVerify(policy.verify, raw.policy_keys);
      const source = {
        ...(path === undefined ? {} : { path }),
        ...(bundle === undefined ? {} : { bundle: toBundleConfig(bundle) }),
        ...(verify === undefined ? {} : { verify }),
      };
      const trial = { ...toTrial(policy), ...toActivation(policy), ...toOffload(policy) };
      return [name, { ...source, entrypoint, ...toSampling(policy.decision_log), ...trial }];
    }),
  );
}

/** As in opa-envoy-plugin's `path`, slashes at the ends count for nothing. Throws `config_invalid`. */
function parseEntrypoint(text: string): string {
  const path = text.replace(/^\/+|\/+$/g, '');
  if (!/^(?!data\.)[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/.test(path) || path.length > 255) {
    throw new SvidgateError('config_invalid', 'expected package and rule with slashes, such as envoy/authz/allow');
  }
  return path;
}

function parseGuardedHeader(text: string): string {
  const name = text.toLowerCase();
  if (!/^:?[a-z0-9!#$%&'+.^_`|~-]+\*?$/.test(name) || name.length > 255) {
    throw new SvidgateError('config_invalid', 'expected a header name, or the beginning of one and a `*`');
  }
  return name;
}

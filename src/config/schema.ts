import { SvidgateError } from '../core/index.ts';
import { parseTrustDomain, type TrustDomain } from '../spiffe/index.ts';
import type { ListenAddress } from './config.ts';
import { formatDuration } from './duration.ts';
import {
  choiceField,
  durationField,
  flagField,
  integerField,
  namedFields,
  optionalField,
  sectionField,
  textField,
  type Field,
} from './fields.ts';
import { parseListenAddress, parsePath, parseSocketPath } from './listen-address.ts';
import { checkDistinctAddresses, checkDistinctNames } from './schema-checks.ts';

const MAX_TTL = '87600h';
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
/** What fits into one file-system name and one metric label. */
const POLICY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The keys of svidgate.yaml. Relative paths start at the folder. */
export function configSchema(folder: string) {
  return sectionField(
    {
      trust_domain: textField<TrustDomain>(
        { description: 'The trust domain that svidgate signs for.', expected: 'a trust domain such as prod.acme.test' },
        parseTrustDomain,
      ),
      data_dir: pathField(folder, './data', "Folder for the authority's key and other state; created with mode 0700."),
      workload_socket: socketField(folder, './run/api.sock', 'Unix socket of SDS.'),
      admin: adminSection(folder),
      authority: authoritySection(),
      entries: optionalField(
        pathField(
          folder,
          undefined,
          'File with registration entries, reloaded on change. Without it nobody gets an identity.',
        ),
      ),
      attestation: attestationSection(),
      sds: sdsSection(),
      authz: optionalField(authzSection(folder)),
      telemetry: telemetrySection(folder),
    },
    { description: 'The configuration of svidgate.' },
    (config, report) => {
      checkDistinctAddresses(config, report);
    },
  );
}

function adminSection(folder: string) {
  return sectionField(
    {
      socket: socketField(
        folder,
        './run/admin.sock',
        'Unix socket of the admin API. Reserved: nothing listens there yet.',
      ),
    },
    { description: 'The admin API.' },
  );
}

function authoritySection() {
  return sectionField(
    {
      ca_ttl: ttlField('24h', 'Lifetime of a CA certificate.', '10s'),
      x509_svid_ttl: ttlField('1h', 'Lifetime of X.509-SVIDs; at most `ca_ttl`. An entry may set its own.'),
      jwt_svid_ttl: ttlField('5m', 'Lifetime of JWT-SVIDs. Reserved: none are issued yet.'),
      key_type: choiceField(['ec-p256'], { description: 'Key type of CAs and SVIDs.', default: 'ec-p256' }),
    },
    { description: 'The embedded CA.' },
    ({ ca_ttl: caTtlMs, x509_svid_ttl: svidTtlMs }, report) => {
      if (caTtlMs === undefined || svidTtlMs === undefined || svidTtlMs <= caTtlMs) return;
      const message = `\`authority.x509_svid_ttl\` (${formatDuration(svidTtlMs)}) is longer than \`authority.ca_ttl\``;
      report(['x509_svid_ttl'], message, `expected at most ${formatDuration(caTtlMs)}: an SVID never outlives its CA`);
    },
  );
}

function attestationSection() {
  const unix = sectionField(
    {
      discover_workload_path: flagField({
        description: 'Whether to give `unix:path` and `unix:sha256`.',
        default: true,
      }),
      allow_without_pid: flagField({
        description:
          'Whether a caller of another PID namespace (pid 0) is attested by uid and gid alone ' +
          'rather than refused.',
        default: false,
      }),
      workload_size_limit: integerField({
        description: 'The largest executable hashed for `unix:sha256`: 0 for any size, -1 for no `unix:sha256` at all.',
        min: -1,
        max: Number.MAX_SAFE_INTEGER,
        default: 0,
        unit: 'bytes',
      }),
    },
    { description: 'Attestation by the kernel.' },
  );
  return sectionField({ unix }, { description: 'How callers are told apart.' });
}

function sdsSection() {
  const name = (text: string, description: string): Field<string> =>
    textField({ description, expected: 'a resource name that is not a SPIFFE ID', default: text }, parseResourceName);
  return sectionField(
    {
      default_svid_name: name('default', "Resource name of the caller's first X.509-SVID."),
      default_bundle_name: name('ROOTCA', "Resource name of the own trust domain's bundle."),
      default_all_bundles_name: name('ALL', 'Resource name of all bundles in one SPIFFE validator.'),
      disable_spiffe_cert_validation: flagField({
        description: 'Whether `ROOTCA` is a plain CA file, without the SPIFFE certificate validator.',
        default: false,
      }),
      unknown_name: choiceField(['error', 'wait'], {
        description:
          'A name the caller has no right to ends its stream with an error, or stays unanswered until it has.',
        default: 'error',
      }),
    },
    { description: 'The Secret Discovery Service.' },
    checkDistinctNames,
  );
}

function authzSection(folder: string) {
  const policy = sectionField(
    {
      path: requiredPathField(folder, 'Folder or file with Rego.'),
      entrypoint: textField(
        {
          description: 'The rule that decides.',
          expected: 'a rule such as envoy/authz/allow',
          default: 'envoy/authz/allow',
        },
        parseEntrypoint,
      ),
    },
    { description: 'One policy.' },
  );
  return sectionField(
    {
      listen: listenField(folder, '127.0.0.1:9191', 'Where ext_authz listens: `unix:PATH` or a loopback `HOST:PORT`.'),
      on_error: choiceField(['deny', 'error_response', 'grpc'], {
        description: 'What Envoy gets when no decision could be made: a deny, an error response, or a gRPC error.',
        default: 'deny',
      }),
      deny_unregistered: flagField({
        description: 'Whether to deny peers of the own trust domain that no entry gives their SPIFFE ID to.',
        default: false,
      }),
      eval_timeout: durationField({
        description: 'The longest evaluation; then the request is denied.',
        min: '1ms',
        max: '1m',
        default: '100ms',
      }),
      max_request_bytes: integerField({
        description: 'The largest check request; a larger one is denied.',
        min: 1024,
        max: MAX_REQUEST_BYTES,
        default: 4 * 1024 * 1024,
        unit: 'bytes',
      }),
      policies: namedFields(policy, {
        description: 'Policies by name; `default` serves requests that name none.',
        expected: 'at least one policy, such as `default: { path: ./policies/rego }`',
        pattern: POLICY_NAME,
        patternText: 'use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit',
        default: { default: { path: './policies/rego' } },
        defaultText: 'default: { path: ./policies/rego }',
      }),
    },
    { description: 'The gate. It is off when this section is left out.' },
  );
}

function telemetrySection(folder: string) {
  const listen = textField<ListenAddress | undefined>(
    {
      description: 'Where /metrics, /live and /ready are served: `HOST:PORT` or `unix:PATH`; `off` for nowhere.',
      expected: 'HOST:PORT, unix:PATH or off',
      default: '127.0.0.1:9988',
    },
    (text) => (text === 'off' ? undefined : parseListenAddress(text, { folder, loopbackOnly: false })),
  );
  return sectionField(
    {
      listen,
      log_level: choiceField(['debug', 'info', 'warn', 'error'], {
        description: 'The least severe log lines written.',
        default: 'info',
      }),
    },
    { description: 'Logs and metrics.' },
  );
}

function ttlField(text: string, description: string, min = '1s'): Field<number> {
  return durationField({ description, min, max: MAX_TTL, default: text });
}

function pathField(folder: string, text: string | undefined, description: string): Field<string> {
  const info = { description, expected: 'a path, absolute or from the folder of this file' };
  return textField(text === undefined ? info : { ...info, default: text }, (path) => parsePath(path, folder));
}

function requiredPathField(folder: string, description: string): Field<string> {
  return pathField(folder, undefined, description);
}

function socketField(folder: string, text: string, description: string): Field<string> {
  const info = { description, expected: 'the path of a Unix socket', default: text };
  return textField(info, (path) => parseSocketPath(path, folder));
}

function listenField(folder: string, text: string, description: string): Field<ListenAddress> {
  const info = { description, expected: 'unix:PATH or a loopback HOST:PORT', default: text };
  return textField(info, (address) => parseListenAddress(address, { folder, loopbackOnly: true }));
}

function parseResourceName(text: string): string {
  if (text.trim() === '' || text.length > 255 || text.startsWith('spiffe://')) {
    throw new SvidgateError('config_invalid', 'expected a name of 1 to 255 characters that is not a SPIFFE ID');
  }
  return text;
}

function parseEntrypoint(text: string): string {
  if (!/^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/.test(text) || text.length > 255) {
    throw new SvidgateError('config_invalid', 'expected package and rule with slashes, such as envoy/authz/allow');
  }
  return text;
}

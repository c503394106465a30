import { SvidgateError } from '../core/index.ts';
import { parseSpiffeIdPattern, type SpiffeIdPattern } from '../spiffe/index.ts';
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
import { checkDistinctNames, checkStaticSecret } from './schema-checks.ts';
import { exactlyOne, nameField, requiredPathField } from './schema-fields.ts';

export interface SdsConfig {
  /** Stands for the caller's first X.509-SVID. */
  readonly defaultSvidName: string;
  /** Stands for the own trust domain's bundle. */
  readonly defaultBundleName: string;
  /** Stands for all bundles the caller may have, in one SPIFFE validator. */
  readonly defaultAllBundlesName: string;
  /** Gives plain trusted CAs for ROOTCA instead of the SPIFFE certificate validator. */
  readonly disableSpiffeCertValidation: boolean;
  /** What a name that the caller has no right to gets: the stream's end with an error, or silence until it has. */
  readonly unknownName: 'error' | 'wait';
  /** How long an Envoy may take to accept what it was sent before that is a warning. */
  readonly ackTimeoutMs: number;
  readonly limits: SdsLimits;
  /** Who may have JWT-SVIDs as generic secrets. */
  readonly jwtSvids: readonly JwtSecretRule[];
  /** Secrets by resource name. */
  readonly secrets: ReadonlyMap<string, StaticSecretConfig>;
  /** Folders of which files may be asked for by name. */
  readonly files: readonly SecretFolder[];
  /** Lists of peers, for `NAME?peers=LIST`. */
  readonly peers: ReadonlyMap<string, PeerListConfig>;
}

/** For all callers with the same selectors together. */
export interface SdsLimits {
  readonly streams: number;
  readonly namesPerStream: number;
  /** Requests other than the acknowledgement of what was sent. */
  readonly requestsPerSecond: number;
  readonly requestBytesPerSecond: number;
}

export interface JwtSecretRule {
  readonly allow: readonly SpiffeIdPattern[];
  readonly audiences: readonly string[];
}

export type StaticSecretConfig = { readonly allow: readonly SpiffeIdPattern[] } & (
  | { readonly kind: 'generic'; readonly file: string }
  | { readonly kind: 'tls_certificate'; readonly certificateFile: string; readonly privateKeyFile: string }
  | { readonly kind: 'validation_context'; readonly caFile: string }
  | {
      readonly kind: 'session_tickets';
      readonly rotateEveryMs: number;
      /** How many old keys still decrypt. */
      readonly keepOld: number;
      /** Secret from which all servers that have it make the same keys; without it they are random, and kept in the data directory. */
      readonly seedFile?: string;
    }
);

export interface SecretFolder {
  readonly folder: string;
  readonly allow: readonly SpiffeIdPattern[];
}

export type PeerListConfig =
  | { readonly kind: 'static'; readonly peers: readonly SpiffeIdPattern[] }
  /** A list of texts in the data of a policy, at a path such as `peers/orders`. */
  | { readonly kind: 'policy'; readonly policy: string; readonly path: string };

const NAME = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const NAME_TEXT = 'use 1 to 128 letters, digits, `.`, `-`, `_` or `/`, the first a letter or digit';

export function sdsSection(folder: string) {
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
      ack_timeout: durationField({
        description: 'How long an Envoy may take to accept what it was sent before that is a warning.',
        min: '1s',
        max: '1h',
        default: '30s',
      }),
      limits: limitsSection(),
      jwt_svids: optionalField(jwtField()),
      secrets: optionalField(secretsField(folder)),
      files: optionalField(filesField(folder)),
      peers: optionalField(peersField()),
    },
    { description: 'The Secret Discovery Service.' },
    checkDistinctNames,
  );
}

function limitsSection() {
  return sectionField(
    {
      streams: integerField({ description: 'Open streams.', min: 1, max: 1_000_000, default: 2000 }),
      names_per_stream: integerField({ description: 'Resource names.', min: 1, max: 100_000, default: 1000 }),
      requests_per_second: integerField({
        description:
          'Requests, without those that acknowledge what was sent; as many again for each open stream at once.',
        min: 1,
        max: 1_000_000,
        default: 1000,
      }),
      request_bytes_per_second: integerField({
        description: 'Size of requests; four times as much at once.',
        min: 1024 * 1024,
        max: 2 ** 40,
        default: 64 * 1024 * 1024,
        unit: 'bytes',
      }),
    },
    { description: 'What one caller may use: all processes with the same selectors together.' },
  );
}

const allowField = (): Field<SpiffeIdPattern[]> =>
  listField(patternField('Who may have it.'), {
    description: 'SPIFFE IDs, or `ID/**` for all beneath one: who may have it.',
    expected: 'a list of SPIFFE IDs such as spiffe://prod.acme.test/gateway',
    min: 1,
  });

function jwtField() {
  const rule = sectionField(
    {
      allow: allowField(),
      audiences: listField(nameField('One audience.'), {
        description: 'The audiences that it may ask for.',
        expected: 'a list of audiences such as api.acme.test',
        min: 1,
      }),
    },
    { description: 'One rule.' },
  );
  return listField(rule, {
    description: 'Who may have JWT-SVIDs as generic secrets, `jwt:SPIFFE_ID?aud=AUDIENCE`, and for whom.',
    expected: 'a list of rules with `allow` and `audiences`',
  });
}

function secretsField(folder: string) {
  const secret = sectionField(
    {
      kind: choiceField(['generic', 'tls_certificate', 'validation_context', 'session_tickets'], {
        description: 'What Envoy gets.',
        default: 'generic',
      }),
      allow: allowField(),
      file: optionalField(requiredPathField(folder, '`generic`: file with the secret.')),
      certificate_file: optionalField(requiredPathField(folder, '`tls_certificate`: PEM, leaf first.')),
      private_key_file: optionalField(requiredPathField(folder, '`tls_certificate`: PEM, not encrypted.')),
      ca_file: optionalField(requiredPathField(folder, '`validation_context`: PEM.')),
      seed_file: optionalField(
        requiredPathField(
          folder,
          '`session_tickets`: at least 32 random bytes, the same on all servers that share keys. Without it keys are random and stay in `data_dir`.',
        ),
      ),
      rotate_every: optionalField(
        durationField({
          description: '`session_tickets`: how long a key encrypts, 1h when left out.',
          min: '1s',
          max: '168h',
        }),
      ),
      keep_old: optionalField(
        integerField({
          description: '`session_tickets`: how many old keys still decrypt, 2 when left out.',
          min: 0,
          max: 16,
        }),
      ),
    },
    { description: 'One secret. Files are watched, and must be no links.' },
    checkStaticSecret,
  );
  return namedFields(secret, {
    description: 'Secrets by resource name.',
    expected: 'at least one secret, such as `token: { file: ./token, allow: [spiffe://prod.acme.test/gateway] }`',
    pattern: NAME,
    patternText: NAME_TEXT,
  });
}

function filesField(folder: string) {
  const one = sectionField(
    { folder: requiredPathField(folder, 'The folder; links in it are not followed.'), allow: allowField() },
    { description: 'One folder.' },
  );
  return listField(one, {
    description: "Folders for Istio's names `file-cert:CERTIFICATE~KEY` and `file-root:CA`, with absolute paths.",
    expected: 'a list of folders such as `{ folder: /etc/certs, allow: [spiffe://prod.acme.test/gateway] }`',
  });
}

function peersField() {
  const list = sectionField(
    {
      spiffe_ids: optionalField(
        listField(patternField('One peer.'), {
          description: 'SPIFFE IDs, or `ID/**` for all beneath one. An empty list lets nobody in.',
          expected: 'a list of SPIFFE IDs such as spiffe://prod.acme.test/web',
        }),
      ),
      policy_data: optionalField(
        sectionField(
          {
            policy: nameField('The policy.', 'default'),
            path: textField(
              { description: 'Where in its data a list of SPIFFE IDs is.', expected: 'a path such as peers/orders' },
              parseDataPath,
            ),
          },
          { description: "A list in a policy's data." },
        ),
      ),
    },
    { description: 'One list.' },
    exactlyOne('peers.NAME', ['spiffe_ids', 'policy_data']),
  );
  return namedFields(list, {
    description: 'Lists of peers by name: `ROOTCA?peers=NAME` lets in only them.',
    expected: 'at least one list, such as `orders-callers: { spiffe_ids: [spiffe://prod.acme.test/web] }`',
    pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    patternText: 'use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit',
  });
}

type Output<F> = F extends Field<infer T> ? T : never;
type RawSds = Output<ReturnType<typeof sdsSection>>;
type RawSecret = NonNullable<RawSds['secrets']>[string];
type RawPeers = NonNullable<RawSds['peers']>[string];

export function toSdsConfig(raw: RawSds): SdsConfig {
  return {
    defaultSvidName: raw.default_svid_name,
    defaultBundleName: raw.default_bundle_name,
    defaultAllBundlesName: raw.default_all_bundles_name,
    disableSpiffeCertValidation: raw.disable_spiffe_cert_validation,
    unknownName: raw.unknown_name,
    ackTimeoutMs: raw.ack_timeout,
    limits: {
      streams: raw.limits.streams,
      namesPerStream: raw.limits.names_per_stream,
      requestsPerSecond: raw.limits.requests_per_second,
      requestBytesPerSecond: raw.limits.request_bytes_per_second,
    },
    jwtSvids: raw.jwt_svids ?? [],
    secrets: new Map(Object.entries(raw.secrets ?? {}).map(([name, secret]) => [name, toStaticSecret(secret)])),
    files: raw.files ?? [],
    peers: new Map(Object.entries(raw.peers ?? {}).map(([name, list]) => [name, toPeerList(list)])),
  };
}

const DEFAULT_ROTATE_EVERY_MS = 3_600_000;
const DEFAULT_KEEP_OLD = 2;

/** The checks of the schema have made sure that what a kind needs is there. */
function toStaticSecret(raw: RawSecret): StaticSecretConfig {
  const { kind, allow } = raw;
  const { file = '', certificate_file: certificateFile = '', private_key_file: privateKeyFile = '' } = raw;
  switch (kind) {
    case 'generic':
      return { kind, allow, file };
    case 'tls_certificate':
      return { kind, allow, certificateFile, privateKeyFile };
    case 'validation_context':
      return { kind, allow, caFile: raw.ca_file ?? '' };
    case 'session_tickets':
      return {
        kind,
        allow,
        rotateEveryMs: raw.rotate_every ?? DEFAULT_ROTATE_EVERY_MS,
        keepOld: raw.keep_old ?? DEFAULT_KEEP_OLD,
        ...(raw.seed_file === undefined ? {} : { seedFile: raw.seed_file }),
      };
  }
}

function toPeerList({ spiffe_ids: peers, policy_data: data }: RawPeers): PeerListConfig {
  if (data !== undefined) return { kind: 'policy', policy: data.policy, path: data.path };
  return { kind: 'static', peers: peers ?? [] };
}

function patternField(description: string): Field<SpiffeIdPattern> {
  return textField({ description, expected: 'a SPIFFE ID, or an ID followed by /**' }, (text) => {
    try {
      return parseSpiffeIdPattern(text);
    } catch (error) {
      throw new SvidgateError('config_invalid', SvidgateError.from(error).message);
    }
  });
}

function parseResourceName(text: string): string {
  if (text.trim() === '' || text.length > 255 || text.startsWith('spiffe://')) {
    throw new SvidgateError('config_invalid', 'expected a name of 1 to 255 characters that is not a SPIFFE ID');
  }
  if (/^(?:jwt|hint|file-cert|file-root):|\?/.test(text)) {
    throw new SvidgateError(
      'config_invalid',
      'expected a name without `?` that does not start as a name of another kind: `jwt:`, `hint:`, `file-cert:`, `file-root:`',
    );
  }
  return text;
}

function parseDataPath(text: string): string {
  if (!/^[^/\s]+(?:\/[^/\s]+)*$/.test(text) || text.length > 255) {
    throw new SvidgateError('config_invalid', 'expected keys with slashes between them, such as peers/orders');
  }
  return text;
}

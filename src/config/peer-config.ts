import { SvidgateError } from '../core/index.ts';
import { JWT_ALGORITHMS, type JwtAlgorithm, type SpiffeIdPattern } from '../spiffe/index.ts';
import {
  choiceField,
  durationField,
  flagField,
  listField,
  namedFields,
  optionalField,
  sectionField,
  textField,
  type Field,
  type ReportMistake,
} from './fields.ts';
import { exactlyOne, nameField, requiredPathField, spiffeIdPatternField } from './schema-fields.ts';

/** How the gate finds out who sent a request, beyond the peer's certificate. */
export interface PeerConfig {
  /** Whose word about its client is taken. */
  readonly xfccTrusted: readonly SpiffeIdPattern[];
  /** Absent: JWT-SVIDs are not looked at. */
  readonly jwtSvid?: JwtSvidConfig;
  /** By name. */
  readonly jwtProviders: ReadonlyMap<string, JwtProviderConfig>;
}

/** Where a token stands: the header in lower case, and what comes before the token in it. */
export interface TokenPlaceConfig {
  readonly header: string;
  readonly prefix: string;
}

export interface JwtSvidConfig {
  readonly place: TokenPlaceConfig;
  readonly audiences: readonly string[];
  readonly singleUse: boolean;
}

export interface JwtProviderConfig {
  readonly place: TokenPlaceConfig;
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly algorithms: readonly JwtAlgorithm[];
  readonly keys:
    | { readonly kind: 'file'; readonly file: string }
    | {
        readonly kind: 'https';
        readonly url: string;
        readonly caFile?: string;
        readonly tokenFile?: string;
        readonly refreshMs: number;
        readonly keepMs: number;
      };
  readonly requiredClaims: ReadonlyMap<string, readonly string[]>;
  readonly clockSkewMs: number;
  readonly singleUse: boolean;
}

const DEFAULT_HEADER = 'authorization';
const DEFAULT_PREFIX = 'Bearer ';
const DEFAULT_ALGORITHMS: readonly JwtAlgorithm[] = ['RS256', 'ES256'];
const PROVIDER_NAME = /^(?!jwt_svid$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The keys of `authz` that are about who sent a request. */
export function peerFields(folder: string) {
  return {
    xfcc: sectionField(
      {
        trusted: optionalField(
          listField(spiffeIdPatternField('One proxy.'), {
            description: 'SPIFFE IDs, or `ID/**` for all beneath one: the proxies whose elements are taken.',
            expected: 'a list of SPIFFE IDs such as spiffe://prod.acme.test/gateway',
          }),
        ),
      },
      { description: "Whose word about its client is taken in Envoy's `x-forwarded-client-cert`." },
    ),
    jwt_svid: optionalField(jwtSvidSection()),
    jwt_providers: optionalField(
      namedFields(providerSection(folder), {
        description: 'Outside issuers of JWTs by name.',
        expected: 'at least one issuer, such as `github: { issuer: …, audiences: […], jwks_uri: … }`',
        pattern: PROVIDER_NAME,
        patternText: 'use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit, and not `jwt_svid`',
      }),
    ),
  };
}

function jwtSvidSection() {
  return sectionField(
    { ...placeFields(), audiences: audiencesField(), single_use: singleUseField() },
    { description: 'JWT-SVIDs of our own trust domain and of federated ones. They are not looked at without it.' },
  );
}

function placeFields() {
  return {
    header: textField(
      { description: 'Header with the token.', expected: 'the name of a header', default: DEFAULT_HEADER },
      parseHeaderName,
    ),
    prefix: optionalField(
      textField(
        {
          description: 'What stands before the token, in any case: `Bearer ` in `authorization`, else nothing.',
          expected: 'a text of at most 64 characters',
        },
        parsePrefix,
      ),
    ),
  };
}

const audiencesField = (): Field<string[]> =>
  listField(nameField('One audience.'), {
    description: 'Who we are to the issuer: a token must be for one of them.',
    expected: 'a list of audiences such as api.acme.test',
    min: 1,
  });

const singleUseField = (): Field<boolean> =>
  flagField({
    description:
      'Whether each policy takes a token once only. One that was issued before svidgate started is not verified.',
    default: false,
  });

function providerSection(folder: string) {
  return sectionField(
    {
      issuer: nameField('The `iss` of its tokens, exactly.'),
      ...placeFields(),
      audiences: audiencesField(),
      algorithms: optionalField(
        listField(choiceField(JWT_ALGORITHMS, { description: 'One algorithm.', default: 'RS256' }), {
          description: 'Signature algorithms; RS256 and ES256 when left out.',
          expected: 'a list such as [RS256]',
          min: 1,
        }),
      ),
      ...keyFields(folder),
      required_claims: optionalField(
        namedFields(claimField(), {
          description: 'Claims and their values: one of them must be the claim, or stand in its list.',
          expected: 'at least one claim, such as `repository_owner: [acme]`',
          pattern: /^[^\p{C}\s]{1,128}$/u,
          patternText: 'use 1 to 128 characters without spaces',
        }),
      ),
      clock_skew: durationField({
        description: "By how much the issuer's clock and ours may differ.",
        min: '0s',
        max: '5m',
        default: '30s',
      }),
      single_use: singleUseField(),
    },
    { description: 'One issuer: exactly one of `jwks_uri` and `jwks_file`.' },
    checkProvider,
  );
}

function keyFields(folder: string) {
  return {
    jwks_uri: optionalField(
      textField({ description: 'Where its keys are. Redirects are not followed.', expected: 'an https URL' }, parseUri),
    ),
    jwks_file: optionalField(requiredPathField(folder, 'File with its keys, reloaded on change.')),
    ca_file: optionalField(
      requiredPathField(folder, "`jwks_uri`: PEM of the CAs that the server's certificate is checked with."),
    ),
    token_file: optionalField(
      requiredPathField(folder, '`jwks_uri`: file with a bearer token for the server, as that of Kubernetes wants.'),
    ),
    cache: sectionField(
      {
        refresh: durationField({
          description: '`jwks_uri`: how old keys may get before they are asked for again.',
          min: '10s',
          max: '168h',
          default: '10m',
        }),
        keep: durationField({
          description: '`jwks_uri`: how old keys may get when they cannot be had again; then tokens are not verified.',
          min: '1m',
          max: '720h',
          default: '24h',
        }),
      },
      { description: 'How long keys are kept.' },
    ),
  };
}

const claimField = (): Field<string[]> =>
  listField(nameField('One value.'), { description: 'Its values.', expected: 'a list of texts', min: 1 });

const checkKeys = exactlyOne('jwt_providers.NAME', ['jwks_uri', 'jwks_file']);

function checkProvider(
  value: Readonly<Record<string, unknown>>,
  report: ReportMistake,
  wrong: ReadonlySet<PropertyKey>,
): void {
  checkKeys(value, report, wrong);
  if (value['jwks_file'] === undefined) return;
  for (const key of ['ca_file', 'token_file']) {
    if (value[key] !== undefined) report([key], `\`${key}\` is for \`jwks_uri\``, 'leave it out');
  }
}

type Output<F> = F extends Field<infer T> ? T : never;
type RawProvider = Output<ReturnType<typeof providerSection>>;

interface RawPeers {
  readonly xfcc: { readonly trusted?: readonly SpiffeIdPattern[] | undefined };
  readonly jwt_svid?: Output<ReturnType<typeof jwtSvidSection>> | undefined;
  readonly jwt_providers?: Readonly<Record<string, RawProvider>> | undefined;
}

/** A check for the section: two issuers of one name and place would be one. */
export function checkDistinctIssuers(
  { jwt_providers: providers }: { readonly jwt_providers?: RawPeers['jwt_providers'] | undefined },
  report: ReportMistake,
): void {
  const taken = new Map<string, string>();
  for (const [name, provider] of Object.entries(providers ?? {})) {
    const { header, prefix } = toPlace(provider);
    const key = JSON.stringify([provider.issuer, header, prefix.toLowerCase()]);
    const other = taken.get(key);
    taken.set(key, name);
    if (other === undefined) continue;
    const message = `\`${name}\` has the issuer and the header of \`${other}\``;
    report(['jwt_providers', name], message, 'give one of them all audiences');
  }
}

export function toPeerConfig(raw: RawPeers): PeerConfig {
  const { jwt_svid: svid } = raw;
  return {
    xfccTrusted: raw.xfcc.trusted ?? [],
    ...(svid === undefined
      ? {}
      : { jwtSvid: { place: toPlace(svid), audiences: svid.audiences, singleUse: svid.single_use } }),
    jwtProviders: new Map(Object.entries(raw.jwt_providers ?? {}).map(([name, one]) => [name, toProvider(one)])),
  };
}

function toProvider(raw: RawProvider): JwtProviderConfig {
  return {
    place: toPlace(raw),
    issuer: raw.issuer,
    audiences: raw.audiences,
    algorithms: raw.algorithms ?? DEFAULT_ALGORITHMS,
    keys: toKeys(raw),
    requiredClaims: new Map(Object.entries(raw.required_claims ?? {})),
    clockSkewMs: raw.clock_skew,
    singleUse: raw.single_use,
  };
}

function toKeys(raw: RawProvider): JwtProviderConfig['keys'] {
  const { jwks_file: file, jwks_uri: url = '', ca_file: caFile, token_file: tokenFile, cache } = raw;
  if (file !== undefined) return { kind: 'file', file };
  return {
    kind: 'https',
    url,
    ...(caFile === undefined ? {} : { caFile }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    refreshMs: cache.refresh,
    keepMs: cache.keep,
  };
}

function toPlace({
  header,
  prefix,
}: {
  readonly header: string;
  readonly prefix?: string | undefined;
}): TokenPlaceConfig {
  return { header, prefix: prefix ?? (header === DEFAULT_HEADER ? DEFAULT_PREFIX : '') };
}

function parseHeaderName(text: string): string {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/.test(text)) {
    throw new SvidgateError('config_invalid', 'expected the name of a header, such as cf-access-jwt-assertion');
  }
  return text.toLowerCase();
}

function parsePrefix(text: string): string {
  if (!/^[\x20-\x7e]{0,64}$/.test(text)) {
    throw new SvidgateError('config_invalid', 'expected at most 64 characters of ASCII');
  }
  return text;
}

function parseUri(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new SvidgateError('config_invalid', 'expected https://HOST/PATH without user or fragment');
  }
  return url.href;
}

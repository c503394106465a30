import { SvidgateError } from '../core/index.ts';
import { parseSpiffeId, pathOf, trustDomainOf, type SpiffeId, type TrustDomain } from '../spiffe/index.ts';
import {
  durationField,
  integerField,
  listField,
  optionalField,
  sectionField,
  textField,
  type Field,
  type ReportMistake,
} from './fields.ts';
import { isLoopback } from './listen-address.ts';
import { requiredPathField } from './schema-fields.ts';

/** Where the bundles of a policy come from, and how they are asked for. */
export interface PolicyBundleConfig {
  readonly place: PolicyBundlePlace;
  readonly pollIntervalMs: number;
  /** 0: the server is not told to wait. */
  readonly longPollMs: number;
  /** Of one question and its answer. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly tokenFile?: string;
  /** Absent: the CAs of the system. Never together with `serverSpiffeId`. */
  readonly caFile?: string;
  /** Whose X.509-SVID is shown. Of our own trust domain. */
  readonly spiffeId?: SpiffeId;
  /** Who the server must be by its X.509-SVID. */
  readonly serverSpiffeId?: SpiffeId;
  /** Further origins that may be asked. */
  readonly allowOrigins: readonly string[];
}

export type PolicyBundlePlace =
  | { readonly kind: 'http'; readonly url: string }
  | {
      readonly kind: 'oci';
      /** Of the registry, such as `https://ghcr.io`. */
      readonly origin: string;
      readonly repository: string;
      /** A tag or a digest. */
      readonly reference: string;
    };

/** What is unpacked of one at most, too. */
const MAX_BUNDLE_BYTES = 64 * 2 ** 20;
const KINDS = 'https://…, oci://REGISTRY/REPOSITORY:TAG, or http://… on loopback';

export function bundleSection(folder: string) {
  return sectionField(
    {
      url: textField({ description: `Where it is: ${KINDS}.`, expected: KINDS }, parsePlace),
      ...pollingFields(),
      token_file: optionalField(
        requiredPathField(
          folder,
          'File with the bearer token; for a registry also `USER:PASSWORD`. Read for each question.',
        ),
      ),
      tls: sectionField(
        {
          ca_file: optionalField(
            requiredPathField(folder, "PEM of the CAs that its certificate is checked with; the system's without it."),
          ),
          spiffe_id: optionalField(
            textField({ description: 'Whose X.509-SVID svidgate shows.', expected: 'a SPIFFE ID' }, parseWorkloadId),
          ),
          server_spiffe_id: optionalField(
            textField(
              { description: 'Who it must be by its X.509-SVID, instead of a CA and a name.', expected: 'a SPIFFE ID' },
              parseWorkloadId,
            ),
          ),
        },
        { description: 'How the server proves itself, and svidgate to it.' },
      ),
      allow_origins: optionalField(
        listField(
          textField(
            { description: 'One origin.', expected: 'an origin such as https://storage.acme.test' },
            parseOrigin,
          ),
          {
            description:
              'Further origins that may be asked: where it redirects to, which gets no token, and the token service of a registry.',
            expected: 'a list of origins such as https://storage.acme.test',
          },
        ),
      ),
    },
    { description: 'Where the policy comes from, as an OPA bundle, instead of `path`.' },
    checkBundle,
  );
}

function pollingFields() {
  return {
    poll_interval: durationField({
      description: 'How long after an answer it is asked again, more or less by a quarter.',
      min: '1s',
      max: '24h',
      default: '60s',
    }),
    long_poll: durationField({
      description: 'How long a bundle server that can wait for news is told to, as OPA does; 0s: not at all.',
      min: '0s',
      max: '10m',
      default: '0s',
    }),
    timeout: durationField({
      description: 'The longest exchange, beyond what the server is told to wait.',
      min: '1s',
      max: '10m',
      default: '1m',
    }),
    max_bytes: integerField({
      description: 'The largest bundle, as it is sent.',
      min: 1024,
      max: MAX_BUNDLE_BYTES,
      default: MAX_BUNDLE_BYTES,
      unit: 'bytes',
    }),
  };
}

type Raw = ReturnType<typeof bundleSection> extends Field<infer T> ? T : never;

/** What the checks between fields look at. */
interface RawBundle {
  readonly url: PolicyBundlePlace;
  readonly long_poll: number;
  readonly tls: {
    readonly ca_file?: string | undefined;
    readonly spiffe_id?: SpiffeId | undefined;
    readonly server_spiffe_id?: SpiffeId | undefined;
  };
}

export function toBundleConfig(raw: Raw): PolicyBundleConfig {
  const { ca_file: caFile, spiffe_id: spiffeId, server_spiffe_id: serverSpiffeId } = raw.tls;
  return {
    place: raw.url,
    pollIntervalMs: raw.poll_interval,
    longPollMs: raw.long_poll,
    timeoutMs: raw.timeout,
    maxBytes: raw.max_bytes,
    ...(raw.token_file === undefined ? {} : { tokenFile: raw.token_file }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(spiffeId === undefined ? {} : { spiffeId }),
    ...(serverSpiffeId === undefined ? {} : { serverSpiffeId }),
    allowOrigins: raw.allow_origins ?? [],
  };
}

function checkBundle({ url, tls, long_poll: longPoll }: Partial<RawBundle>, report: ReportMistake): void {
  if (url === undefined) return;
  const isPlain = (url.kind === 'http' ? url.url : url.origin).startsWith('http:');
  for (const key of ['ca_file', 'spiffe_id', 'server_spiffe_id'] as const) {
    if (isPlain && tls?.[key] !== undefined)
      report(['tls', key], `\`tls.${key}\` has no meaning without TLS`, 'leave it out');
  }
  if (tls?.ca_file !== undefined && tls.server_spiffe_id !== undefined) {
    const message = '`tls` has both `ca_file` and `server_spiffe_id`';
    report(['tls', 'server_spiffe_id'], message, 'the server is proven in one way: leave one out');
  }
  if (url.kind === 'oci' && longPoll !== undefined && longPoll > 0)
    report(['long_poll'], '`long_poll` has no meaning for a registry', 'leave it out: no registry waits for news');
}

/** What svidgate shows is of its own trust domain. For the whole configuration. */
export function checkPolicyBundles(
  config: {
    readonly trust_domain?: TrustDomain | undefined;
    readonly authz?:
      { readonly policies?: Readonly<Record<string, { readonly bundle?: RawBundle | undefined }>> } | undefined;
  },
  report: ReportMistake,
): void {
  const { trust_domain: own, authz } = config;
  for (const [name, { bundle }] of Object.entries(authz?.policies ?? {})) {
    const shown = bundle?.tls.spiffe_id;
    if (own === undefined || shown === undefined || trustDomainOf(shown) === own) continue;
    const place = ['authz', 'policies', name, 'bundle', 'tls', 'spiffe_id'];
    report(place, `\`${shown}\` is not of trust domain \`${own}\``, 'name an ID that svidgate can sign for');
  }
}

function parsePlace(text: string): PolicyBundlePlace {
  if (/^oci:/i.test(text)) return parseRegistry(text);
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new SvidgateError('config_invalid', `expected ${KINDS}`);
  checkUrl(url);
  if (url.hash !== '') throw new SvidgateError('config_invalid', 'expected an address without `#`');
  return { kind: 'http', url: url.href };
}

/** As the distribution specification has names, tags and digests. */
const REGISTRY =
  /^oci:\/\/([^/?#@]+)\/([a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}))?$/;

function parseRegistry(text: string): PolicyBundlePlace {
  const [, host = '', repository = '', tag, digest] = REGISTRY.exec(text) ?? [];
  const reference = digest ?? tag;
  const plain = URL.parse(`http://${host}`);
  if (plain === null || repository === '' || reference === undefined || repository.length > 255)
    throw new SvidgateError('config_invalid', 'expected oci://REGISTRY/REPOSITORY:TAG or …@sha256:DIGEST');
  // As other clients do: a registry at an address of loopback speaks HTTP.
  const origin = isOnLoopback(plain) ? plain.origin : new URL(`https://${host}`).origin;
  return { kind: 'oci', origin, repository, reference };
}

function parseOrigin(text: string): string {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.href !== `${url.origin}/`)
    throw new SvidgateError('config_invalid', 'expected scheme, host and port only, such as https://storage.acme.test');
  checkUrl(url);
  return url.origin;
}

function checkUrl(url: URL): void {
  if (url.username !== '' || url.password !== '')
    throw new SvidgateError('config_invalid', 'expected no credentials in the address: they belong in `token_file`');
  if (url.protocol === 'http:' && !isOnLoopback(url))
    throw new SvidgateError('config_invalid', 'expected https://: without TLS anybody on the way could decide');
}

function isOnLoopback(url: URL): boolean {
  return isLoopback(url.hostname.replace(/^\[|\]$/g, ''));
}

function parseWorkloadId(text: string): SpiffeId {
  let id: SpiffeId;
  try {
    id = parseSpiffeId(text);
  } catch (error) {
    throw new SvidgateError('config_invalid', SvidgateError.from(error).message);
  }
  if (pathOf(id) === '') throw new SvidgateError('config_invalid', 'expected the ID of a workload, with a path');
  return id;
}

import { SvidgateError, type AuditCaller } from '../../core/index.ts';
import type { svidgate } from '../../proto/index.ts';
import {
  formatPemBundle,
  formatSpiffeBundle,
  parseBundle,
  type TrustBundle,
  type TrustDomain,
} from '../../spiffe/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { pageOf, sortedBy } from './page.ts';
import { enumField, invalidField, trustDomainField } from './request-fields.ts';

/** In the order of the proto's enum, from 1. `own` is never that of a foreign bundle. */
const BUNDLE_SOURCES = ['own', 'file', 'api', 'endpoint'] as const;
const BUNDLE_FORMATS = ['pem', 'spiffe'] as const;

/** The bundle of a foreign trust domain, and where it comes from. */
export interface ForeignBundle {
  readonly bundle: TrustBundle;
  readonly source: Exclude<(typeof BUNDLE_SOURCES)[number], 'own'>;
}

/** The bundles of foreign trust domains. Each change is audited and stored before it returns. */
export interface ForeignBundleAdmin {
  list(): readonly ForeignBundle[];
  /** Throws `conflict` when the trust domain's bundle is not the API's. */
  set(bundle: TrustBundle, by: AuditCaller): Promise<unknown>;
  /** Throws `not_found`, and `conflict` when the bundle is not the API's. */
  delete(trustDomain: TrustDomain, by: AuditCaller): Promise<unknown>;
}

export interface BundleServiceOptions {
  readonly foreign: ForeignBundleAdmin;
  /** The bundle of the trust domain that svidgate signs for. */
  readonly own: () => TrustBundle;
}

interface KnownBundle {
  readonly bundle: TrustBundle;
  readonly source: (typeof BUNDLE_SOURCES)[number];
}

/** BundleAdmin of the admin API. */
export function bundleMethods(methods: AdminMethods, { foreign, own }: BundleServiceOptions): readonly GrpcMethod[] {
  const all = (): readonly KnownBundle[] => [{ bundle: own(), source: 'own' }, ...foreign.list()];
  const find = (trustDomain: TrustDomain): KnownBundle => {
    const found = all().find(({ bundle }) => bundle.trustDomain === trustDomain);
    if (found === undefined) throw new SvidgateError('not_found', `there is no bundle of trust domain ${trustDomain}`);
    return found;
  };
  const foreignField = (value: string): TrustDomain => {
    const trustDomain = trustDomainField('trust_domain', value);
    if (trustDomain !== own().trustDomain) return trustDomain;
    throw invalidField('trust_domain', `${trustDomain} is the own trust domain, whose bundle the authority makes`);
  };
  return [
    methods.unary('listBundles', (request) => {
      const keyOf = ({ bundle }: KnownBundle): string => bundle.trustDomain;
      const page = pageOf(sortedBy(all(), keyOf), request, { keyOf });
      return { bundles: page.items.map(toBundle), nextPageToken: page.nextPageToken };
    }),
    methods.unary('getBundle', (request) => {
      const format = enumField('format', request.format, BUNDLE_FORMATS);
      const asked =
        request.trustDomain === '' ? own().trustDomain : trustDomainField('trust_domain', request.trustDomain);
      const known = find(asked);
      const document = format === 'pem' ? formatPemBundle(known.bundle) : formatSpiffeBundle(known.bundle);
      return { bundle: toBundle(known), document };
    }),
    methods.unary('setBundle', async (request, call) => {
      const trustDomain = foreignField(request.trustDomain);
      if (request.document === '') throw invalidField('document', 'missing: expected PEM or SPIFFE JSON');
      await foreign.set(parseDocument(request.document, trustDomain), call.caller);
      return toBundle(find(trustDomain));
    }),
    methods.unary('deleteBundle', async (request, call) => {
      await foreign.delete(foreignField(request.trustDomain), call.caller);
      return {};
    }),
  ];
}

function parseDocument(document: string, trustDomain: TrustDomain): TrustBundle {
  try {
    return parseBundle(document, trustDomain);
  } catch (error) {
    throw error instanceof SvidgateError ? invalidField('document', error.message, error) : error;
  }
}

function toBundle({ bundle, source }: KnownBundle): svidgate.admin.v1.BundleInit {
  return {
    trustDomain: bundle.trustDomain,
    source: BUNDLE_SOURCES.indexOf(source) + 1,
    sequence: bundle.sequence,
    refreshHintSeconds: bundle.refreshHintSeconds ?? 0,
    x509AuthorityCount: bundle.x509Authorities.length,
    jwtAuthorityCount: bundle.jwtAuthorities.length,
  };
}

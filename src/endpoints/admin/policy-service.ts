import { SvidgateError } from '../../core/index.ts';
import type { ShadowDifference, ShadowReport, ShadowReportFilter, ShadowSummary } from '../../evidence/index.ts';
import { msToTimestamp, type svidgate } from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { pageOf, sortedBy } from './page.ts';
import { invalidField, timestampField } from './request-fields.ts';

/** Policies that are tried, and what was counted of them. */
export interface PolicyAdmin {
  /** Whether the policy is tried, or was and has counts. */
  isTried(policy: string): boolean;
  shadowReport(filter: ShadowReportFilter): Promise<ShadowReport>;
  /** Of all policies when none is named. */
  clearShadowReport(policy?: string): Promise<void>;
}

const MAX_FILTER_LENGTH = 2048;

/** PolicyAdmin of the admin API. */
export function policyMethods(methods: AdminMethods, policies: PolicyAdmin | undefined): readonly GrpcMethod[] {
  const admin = (): PolicyAdmin => {
    if (policies !== undefined) return policies;
    throw new SvidgateError('not_found', 'there is no gate: the configuration has no `authz`');
  };
  const tried = (policy: string): { readonly policy?: string } => {
    if (policy === '') return {};
    if (admin().isTried(policy)) return { policy };
    throw new SvidgateError('not_found', `no policy ${JSON.stringify(policy.slice(0, 100))} is tried`);
  };
  return [
    methods.unary('getShadowReport', async (request) => {
      const seenSince = timestampField('seen_since', request.seenSince);
      const report = await admin().shadowReport({
        ...tried(request.policy),
        ...filterField('principal', request.principal),
        ...filterField('method', request.method),
        ...filterField('route', request.route),
        ...(seenSince === undefined ? {} : { seenSince }),
        allDigests: request.allDigests,
      });
      const keyOf = ({ id }: ShadowDifference): string => id;
      const page = pageOf(sortedBy(report.differences, keyOf), request, { keyOf });
      return {
        summaries: report.summaries.map(toSummary),
        differences: page.items.map(toDifference),
        nextPageToken: page.nextPageToken,
      };
    }),
    methods.unary('clearShadowReport', async ({ policy }, { about }) => {
      const { policy: named } = tried(policy);
      if (named !== undefined) about({ policy: named });
      await admin().clearShadowReport(named);
      return {};
    }),
  ];
}

function filterField<const Name extends string>(name: Name, value: string): Partial<Record<Name, string>> {
  if (value.length > MAX_FILTER_LENGTH) throw invalidField(name, `longer than ${MAX_FILTER_LENGTH} characters`);
  return value === '' ? {} : ({ [name]: value } as Record<Name, string>);
}

function toSummary(summary: ShadowSummary): svidgate.admin.v1.ShadowSummaryInit {
  const { policy, digest, livePolicy, isCurrent, counts, firstSeen, lastSeen } = summary;
  return {
    policy,
    digest,
    livePolicy,
    current: isCurrent,
    ...(firstSeen === undefined ? {} : { firstSeen: msToTimestamp(firstSeen) }),
    ...(lastSeen === undefined ? {} : { lastSeen: msToTimestamp(lastSeen) }),
    same: counts.same,
    otherEffects: counts.other_effects,
    wouldAllow: counts.would_allow,
    wouldDeny: counts.would_deny,
    liveFailed: counts.live_failed,
    candidateFailed: counts.candidate_failed,
    dropped: counts.dropped,
  };
}

function toDifference(difference: ShadowDifference): svidgate.admin.v1.ShadowDifferenceInit {
  const { id: _id, firstSeen, lastSeen, ...rest } = difference;
  return { ...rest, firstSeen: msToTimestamp(firstSeen), lastSeen: msToTimestamp(lastSeen) };
}

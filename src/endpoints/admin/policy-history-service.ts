import { SvidgateError, type AuditCaller } from '../../core/index.ts';
import type { ListedPolicyEvent } from '../../policy/index.ts';
import { msToTimestamp, type svidgate } from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { pageOf, sortedBy } from './page.ts';
import { toPolicyStatus } from './policy-status-message.ts';
import { textField } from './request-fields.ts';
import type { PolicyReport } from './status-report.ts';

/** What comes into force, and what did. Each change is audited and stored before it returns. */
export interface PolicyHistoryAdmin {
  readonly names: () => readonly string[];
  /** Newest first. Throws `not_found`. */
  history(policy: string): Promise<readonly ListedPolicyEvent[]>;
  /** Gives what is in force then. Throws `not_found`, `conflict`, `policy_invalid`. */
  rollBack(request: RollBack, by: AuditCaller, signal: AbortSignal): Promise<PolicyReport>;
  /** As rollBack(). */
  release(request: Release, by: AuditCaller, signal: AbortSignal): Promise<PolicyReport>;
}

export interface Release {
  readonly policy: string;
  readonly reason?: string;
}

export interface RollBack extends Release {
  /** Beginning of a digest. Default: the state before the one in force. */
  readonly digest?: string;
  /** Whether recorded decisions are left alone. */
  readonly skipsReplay: boolean;
}

interface ListedEvent {
  readonly event: ListedPolicyEvent;
  /** In the order of the list: by policy, newest first. */
  readonly key: string;
}

/** The part of PolicyAdmin that is about what is in force. */
export function policyHistoryMethods(
  methods: AdminMethods,
  policies: PolicyHistoryAdmin | undefined,
): readonly GrpcMethod[] {
  const admin = (): PolicyHistoryAdmin => {
    if (policies !== undefined) return policies;
    throw new SvidgateError('not_found', 'there is no gate: the configuration has no `authz`');
  };
  return [
    methods.unary('getPolicyHistory', async (request) => {
      const names = request.policy === '' ? admin().names() : [policyField(request.policy)];
      const lists = await Promise.all(names.map(async (name) => withKeys(await admin().history(name))));
      const keyOf = ({ key }: ListedEvent): string => key;
      const sizeOf = ({ event }: ListedEvent): number => JSON.stringify(event).length;
      const page = pageOf(sortedBy(lists.flat(), keyOf), request, { keyOf, sizeOf });
      return { events: page.items.map(({ event }) => toEvent(event)), nextPageToken: page.nextPageToken };
    }),
    methods.unary('rollBackPolicy', async (request, { about, caller, signal }) => {
      const policy = policyField(request.policy);
      about({ policy });
      const { force: skipsReplay } = request;
      const more = { ...digestField(request.digest), ...reasonField(request.reason) };
      return toPolicyStatus(await admin().rollBack({ policy, skipsReplay, ...more }, caller, signal));
    }),
    methods.unary('releasePolicy', async (request, { about, caller, signal }) => {
      const policy = policyField(request.policy);
      about({ policy });
      return toPolicyStatus(await admin().release({ policy, ...reasonField(request.reason) }, caller, signal));
    }),
  ];
}

/** Events come newest first, and are counted from the oldest, so that a new one changes no key. */
function withKeys(events: readonly ListedPolicyEvent[]): readonly ListedEvent[] {
  return events.map((event, index) => {
    const fromOldest = events.length - index;
    return { event, key: `${event.policy} ${String(Number.MAX_SAFE_INTEGER - fromOldest)}` };
  });
}

function policyField(value: string): string {
  return textField('policy', value, { max: 255, pattern: /^[^\p{Cc}]+$/u, expected: 'the name of a policy' });
}

function digestField(value: string): { readonly digest?: string } {
  const limits = { max: 64, pattern: /^[0-9a-fA-F]{4,}$/, expected: 'at least 4 digits of a digest in hexadecimal' };
  return value === '' ? {} : { digest: textField('digest', value, limits).toLowerCase() };
}

function reasonField(value: string): { readonly reason?: string } {
  const limits = { max: 500, pattern: /^[^\p{Cc}]+$/u, expected: 'a line of text' };
  return value === '' ? {} : { reason: textField('reason', value, limits) };
}

function toEvent(event: ListedPolicyEvent): svidgate.admin.v1.PolicyEventInit {
  const { policy, kind, at, source, entrypoint, by, digest, revision, signedBy, gate, reason, forced, isKept } = event;
  return {
    policy,
    kind,
    at: msToTimestamp(at),
    source,
    entrypoint,
    by,
    kept: isKept,
    digest: digest ?? '',
    bundleRevision: revision ?? '',
    signedBy: signedBy ?? '',
    refusedBy: gate ?? '',
    reason: reason ?? '',
    forced: forced ?? false,
  };
}

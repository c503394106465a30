import type { SpiffeId } from '../../spiffe/index.ts';
import type { svidgate } from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { createLimit } from './limit.ts';
import { numberField } from './request-fields.ts';

/** What is found out about a process, and what it gets. */
export interface AttestationExplanation {
  readonly pid: number;
  readonly uid: number;
  readonly executable?: string;
  readonly attestors: readonly AttestorFinding[];
  /** Entries whose selectors it has all. */
  readonly matches: readonly { readonly entryId: string; readonly spiffeId: SpiffeId }[];
  /** Entries that it comes near to, the nearest first. */
  readonly nearMisses: readonly {
    readonly entryId: string;
    readonly spiffeId: SpiffeId;
    readonly missing: readonly string[];
    /** Why it matches nobody, whatever a caller has. */
    readonly obstacle?: 'expired' | 'store_svid';
  }[];
}

export interface AttestorFinding {
  readonly name: string;
  /** As they may be shown to anybody: without the values of environment variables. */
  readonly selectors: readonly string[];
  /** Why it gave none, when it failed. */
  readonly problem?: string;
}

/** Throws `not_found` when there is no such process. */
export type ExplainAttestation = (pid: number, signal: AbortSignal) => Promise<AttestationExplanation>;

/** PID_MAX_LIMIT of Linux. */
const MAX_PID = 4_194_304;
/** Each may hash a large executable. */
const MAX_AT_ONCE = 4;

/** AttestAdmin of the admin API. */
export function explainMethods(methods: AdminMethods, explain: ExplainAttestation): readonly GrpcMethod[] {
  const limit = createLimit(MAX_AT_ONCE, 'explanations');
  return [
    methods.unary('explainAttestation', async (request, { signal }) => {
      const pid = numberField('pid', request.pid, { min: 1, max: MAX_PID });
      using _ = limit.enter();
      return toResponse(await explain(pid, signal));
    }),
  ];
}

function toResponse(explanation: AttestationExplanation): svidgate.admin.v1.ExplainAttestationResponseInit {
  return {
    pid: explanation.pid,
    uid: explanation.uid,
    executable: explanation.executable ?? '',
    attestors: explanation.attestors.map(({ name, selectors, problem }) => ({
      name,
      selectors,
      problem: problem ?? '',
    })),
    matches: explanation.matches,
    nearMisses: explanation.nearMisses.map(({ entryId, spiffeId, missing, obstacle }) => ({
      entryId,
      spiffeId,
      missingSelectors: missing,
      obstacle: obstacle ?? '',
    })),
  };
}

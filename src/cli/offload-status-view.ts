import type { svidgate } from '../proto/index.ts';
import { formatTable } from './table.ts';

type Status = svidgate.admin.v1.PolicyStatus;
type Offload = svidgate.admin.v1.PolicyOffload;

const SHOWN_DIGEST_LENGTH = 12;
const COLUMNS = ['POLICY', 'OFFLOAD', 'DIGEST', 'RULES', 'WITHHELD', 'LEFT TO THE CALL', 'ENVOYS', 'LEASE', 'WHY'];

/** What Envoys decide without a call; nothing where that is nowhere on. */
export function formatOffload(policies: readonly Status[]): readonly string[] {
  const rows = policies.flatMap(({ name, offload }) =>
    offload === null
      ? []
      : [
          [
            name,
            offload.fastDeny ? `${offload.state}, fast deny` : offload.state,
            offload.digest.slice(0, SHOWN_DIGEST_LENGTH),
            String(offload.rules),
            String(offload.withheldRules),
            String(offload.left),
            envoysText(offload),
            `${offload.leaseMs / 1000}s`,
            offload.reason,
          ],
        ],
  );
  return rows.length === 0 ? [] : [formatTable(COLUMNS, rows)];
}

export function offloadJson(offload: Offload): object {
  const { state, reason, digest, rules, withheldRules, left, fastDeny, leaseMs, envoys, envoysBehind } = offload;
  return {
    state,
    ...(reason === '' ? {} : { reason }),
    ...(digest === '' ? {} : { digest }),
    rules,
    withheld_rules: withheldRules,
    left_to_the_call: left,
    fast_deny: fastDeny,
    lease_ms: leaseMs,
    envoys,
    envoys_behind: envoysBehind,
  };
}

function envoysText({ envoys, envoysBehind }: Offload): string {
  return envoysBehind === 0 ? String(envoys) : `${envoys}, ${envoysBehind} behind`;
}

import type { svidgate } from '../proto/index.ts';
import { formatTable } from './table.ts';
import { formatWhen, isoTime } from './when.ts';

type Status = svidgate.admin.v1.PolicyStatus;
type Source = svidgate.admin.v1.PolicySource;

const COLUMNS = ['POLICY', 'SOURCE', 'REACHED', 'CHANGED', 'FROM', 'PROBLEM'];

/** The sources of policies that come from elsewhere; nothing when there are none. */
export function formatPolicySources(policies: readonly Status[], now: number): readonly string[] {
  const rows = policies.flatMap(({ name, source }) =>
    source === null
      ? []
      : [
          [
            name,
            source.address,
            source.lastContactAt === null ? 'never' : formatWhen(source.lastContactAt, now),
            source.lastChangeAt === null ? '' : formatWhen(source.lastChangeAt, now),
            source.fromDisk ? 'disk' : '',
            source.lastError,
          ],
        ],
  );
  return rows.length === 0 ? [] : [formatTable(COLUMNS, rows)];
}

export function policySourceJson(source: Source): object {
  const { kind, address, lastContactAt, lastChangeAt, fromDisk, lastError } = source;
  return {
    kind,
    address,
    ...(lastContactAt === null ? {} : { last_contact_at: isoTime(lastContactAt) }),
    ...(lastChangeAt === null ? {} : { last_change_at: isoTime(lastChangeAt) }),
    from_disk: fromDisk,
    ...(lastError === '' ? {} : { last_error: lastError }),
  };
}

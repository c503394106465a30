import type { svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import { wrongUsage, type ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { REASONS, type RevokeFlags } from '../groups/svid.ts';
import { formatTable } from '../table.ts';
import { formatWhen, isoTime } from '../when.ts';

type Revocation = svidgate.admin.v1.Revocation;

/** `svid revoke`: prints the revocation. */
export async function revokeSvid(options: ClientOptions & RevokeFlags): Promise<ExitCode> {
  const { serial, spiffeId } = options;
  if (serial === undefined && spiffeId === undefined)
    throw wrongUsage('what is to be revoked? Name --serial or --spiffe-id');
  const target = serial === undefined ? { spiffeId: spiffeId ?? '' } : { serial };
  const request = { ...target, reason: REASONS.indexOf(options.reason) + 1 };
  return print(await withAdmin(options, (admin) => admin.call('revoke', request)), options);
}

/** `svid revocations` */
export async function listRevocations(options: ClientOptions): Promise<ExitCode> {
  const revocations = await withAdmin(options, async (admin) => {
    const all: Revocation[] = [];
    let pageToken = '';
    do {
      const page = await admin.call('listRevocations', { pageToken, pageSize: 1000 });
      all.push(...page.revocations);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return all;
  });
  const { output, terminal } = options;
  if (output === 'json') terminal.out(`${JSON.stringify({ revocations: revocations.map(toJson) })}\n`);
  else terminal.out(formatRevocations(revocations));
  return EXIT.done;
}

/** `svid unrevoke`: prints the revocation that is no more. */
export async function unrevoke(revocationId: string, options: ClientOptions): Promise<ExitCode> {
  return print(await withAdmin(options, (admin) => admin.call('undoRevocation', { revocationId })), options);
}

function print(revocation: Revocation, { output, terminal }: ClientOptions): ExitCode {
  terminal.out(output === 'json' ? `${JSON.stringify(toJson(revocation))}\n` : formatRevocations([revocation]));
  return EXIT.done;
}

function formatRevocations(revocations: readonly Revocation[]): string {
  const now = Date.now();
  const rows = revocations.map(({ revocationId, serial, spiffeId, reason, revokedAt, notAfter }) => [
    revocationId,
    serial,
    spiffeId,
    REASONS[reason - 1] ?? 'unknown',
    formatWhen(revokedAt, now),
    formatWhen(notAfter, now),
  ]);
  return formatTable(
    ['REVOCATION ID', 'SERIAL', 'SPIFFE ID', 'REASON', 'REVOKED', 'SVID ENDS'],
    rows,
    'no revocations',
  );
}

function toJson(revocation: Revocation): object {
  const { serial, spiffeId, authorityId } = revocation;
  return {
    revocation_id: revocation.revocationId,
    ...(serial === '' ? {} : { serial }),
    ...(spiffeId === '' ? {} : { spiffe_id: spiffeId }),
    ...(authorityId === '' ? {} : { authority_id: authorityId }),
    not_after: isoTime(revocation.notAfter),
    reason: REASONS[revocation.reason - 1] ?? 'unknown',
    revoked_at: isoTime(revocation.revokedAt),
  };
}

import { parseDuration } from '../../config/index.ts';
import { int64ToBigInt, msToTimestamp, type svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import { wrongUsage, type ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { ShadowReportFlags } from '../groups/policy.ts';
import { formatShadowReport, shadowReportJson, type ShadowReport } from '../shadow-report-view.ts';

type Options = ClientOptions & ShadowReportFlags & { readonly policy?: string };

/** `policy shadow-report` */
export async function showShadowReport(options: Options): Promise<ExitCode> {
  const { output, terminal } = options;
  if (options.clear === true) return await clearShadowReport(options);
  const report = await fetchReport(options);
  const text =
    output === 'json' ? `${JSON.stringify(shadowReportJson(report))}\n` : formatShadowReport(report, Date.now());
  terminal.out(text);
  return EXIT.done;
}

async function clearShadowReport(options: Options): Promise<ExitCode> {
  const { policy, output, terminal } = options;
  if (policy === undefined) throw wrongUsage('which policy? --clear needs the name of one');
  const filters = [options.principal, options.method, options.route, options.since, options.allDigests];
  if (filters.some((filter) => filter !== undefined)) {
    throw wrongUsage('--clear forgets all that was counted of the policy: leave the conditions out');
  }
  await withAdmin(options, (admin) => admin.call('clearShadowReport', { policy }));
  terminal.out(output === 'json' ? `${JSON.stringify({ cleared: policy })}\n` : `cleared the counts of ${policy}\n`);
  return EXIT.done;
}

/** The most frequent differences first. */
async function fetchReport(options: Options): Promise<ShadowReport> {
  const { policy = '', principal = '', method = '', route = '', since, allDigests = false } = options;
  const filter = {
    policy,
    principal,
    method,
    route,
    allDigests,
    ...(since === undefined ? {} : { seenSince: msToTimestamp(Date.now() - parseDuration(since)) }),
  };
  return await withAdmin(options, async (admin) => {
    const differences: svidgate.admin.v1.ShadowDifference[] = [];
    let summaries: readonly svidgate.admin.v1.ShadowSummary[];
    let pageToken = '';
    do {
      const page = await admin.call('getShadowReport', { ...filter, pageToken, pageSize: 1000 });
      ({ summaries } = page);
      differences.push(...page.differences);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return { summaries, differences: differences.sort((one, other) => countOf(other) - countOf(one)) };
  });
}

function countOf({ count }: svidgate.admin.v1.ShadowDifference): number {
  return Number(int64ToBigInt(count));
}

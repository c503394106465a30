import { int64ToBigInt, type svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import { wrongUsage, type ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { formatFields, formatTable } from '../table.ts';

type Explanation = svidgate.admin.v1.ExplainAttestationResponse;

/** Why an entry matches nobody. */
const OBSTACLES: Readonly<Record<string, string>> = {
  expired: 'it has expired',
  store_svid: 'store_svid entries match no caller',
};

/** `attest explain` */
export async function explainAttestation(pid: string, options: ClientOptions): Promise<ExitCode> {
  if (!/^\d{1,7}$/.test(pid)) throw wrongUsage(`${JSON.stringify(pid)} is no process id`);
  const explanation = await withAdmin(options, (admin) => admin.call('explainAttestation', { pid: Number(pid) }));
  const { output, terminal } = options;
  terminal.out(output === 'json' ? `${JSON.stringify(toJson(explanation))}\n` : toText(explanation));
  return EXIT.done;
}

function toText({ pid, uid, executable, attestors, matches, nearMisses }: Explanation): string {
  const selectors = attestors.flatMap(({ name, selectors: found, problem }) =>
    problem === '' ? found.map((selector) => [name, selector]) : [[name, `failed: ${problem}`]],
  );
  const misses = nearMisses.map(({ entryId, spiffeId, missingSelectors, obstacle }) => [
    entryId,
    spiffeId,
    missingSelectors.join(','),
    OBSTACLES[obstacle] ?? obstacle,
  ]);
  return [
    formatFields({ Process: String(pid), User: int64ToBigInt(uid).toString(), Executable: executable }),
    formatTable(['ATTESTOR', 'SELECTOR'], selectors, 'no selectors'),
    formatTable(
      ['MATCHING ENTRY', 'SPIFFE ID'],
      matches.map(({ entryId, spiffeId }) => [entryId, spiffeId]),
      'no entry matches: this process gets no identity',
    ),
    ...(misses.length === 0 ? [] : [formatTable(['NEAR MISS', 'SPIFFE ID', 'MISSING SELECTORS', 'OBSTACLE'], misses)]),
  ].join('\n');
}

function toJson({ pid, uid, executable, attestors, matches, nearMisses }: Explanation): object {
  return {
    pid,
    uid: Number(int64ToBigInt(uid)),
    ...(executable === '' ? {} : { executable }),
    attestors: attestors.map(({ name, selectors, problem }) => ({
      name,
      selectors,
      ...(problem === '' ? {} : { problem }),
    })),
    matches: matches.map(({ entryId, spiffeId }) => ({ entry_id: entryId, spiffe_id: spiffeId })),
    near_misses: nearMisses.map(({ entryId, spiffeId, missingSelectors, obstacle }) => ({
      entry_id: entryId,
      spiffe_id: spiffeId,
      missing_selectors: missingSelectors,
      ...(obstacle === '' ? {} : { obstacle }),
    })),
  };
}

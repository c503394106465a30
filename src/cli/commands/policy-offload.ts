import type { AuthzConfig } from '../../config/index.ts';
import { systemClock, SvidgateError } from '../../core/index.ts';
import {
  gateFactsOf,
  isOpen,
  KnownPeers,
  offloadObstacle,
  translatePolicy,
  withKnownPeers,
  type GateFacts,
  type TranslatedPolicy,
} from '../../offload/index.ts';
import { createRegoProgram, pathSource, type RegoProgram } from '../../policy/index.ts';
import { isSpiffeId, type SpiffeId } from '../../spiffe/index.ts';
import { wrongUsage } from '../command-line.ts';
import { logGaps, openDecisionLog } from '../decision-log.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { OffloadCommandOptions } from '../groups/policy-offload.ts';
import { offloadShare } from '../offload-share.ts';
import { formatOffloads, offloadsJson, offloadsYaml, type OpenPeers, type ShownOffload } from '../offload-view.ts';
import { principalsOfFile } from '../policy-principals.ts';
import { createProgress } from '../progress.ts';
import { configOf } from '../server-address.ts';

/** Of one run of the compiler. */
const TIME_LIMIT_MS = 60_000;

/** Of a gate of which nothing is known. */
const ANY_GATE: GateFacts = { parsesBodies: true, tokenHeaders: [], hops: [], guardsPaths: false };

/** `policy offload` */
export async function showOffload(path: string | undefined, options: OffloadCommandOptions): Promise<ExitCode> {
  const { output, terminal, explain = false } = options;
  const callers = (options.caller ?? []).map((id) => {
    if (isSpiffeId(id)) return id;
    throw wrongUsage(`--caller takes a SPIFFE ID: ${JSON.stringify(id)} is none`);
  });
  const shown: ShownOffload[] = [];
  const program = createRegoProgram({ clock: systemClock, timeLimitMs: TIME_LIMIT_MS });
  const say = createProgress(terminal);
  const known = await knownPeers(options);
  for (const asked of await findPolicies(path, options)) {
    say(() => `policy ${asked.name}`);
    shown.push(await judge(asked, { ...options, callers, program, known }));
  }
  const forms = { json: offloadsJson, yaml: offloadsYaml, text: formatOffloads };
  terminal.out(forms[output](shown, { explain, callers }));
  return EXIT.done;
}

interface AskedPolicy {
  readonly name: string;
  readonly path: string;
  readonly entrypoint: string;
  readonly gate: GateFacts;
  readonly fastDeny: boolean;
  /** Why nothing of it is offloaded as it is configured. */
  readonly obstacle?: string;
}

/** The one at the path, or those of the configuration. */
async function findPolicies(
  path: string | undefined,
  { config, policy, entrypoint }: OffloadCommandOptions,
): Promise<readonly AskedPolicy[]> {
  const authz = config === undefined ? undefined : (await configOf({ config })).authz;
  if (path !== undefined) {
    const gate = authz === undefined ? ANY_GATE : gateFactsOf(authz);
    const configured = policy === undefined ? undefined : authz?.policies.get(policy);
    const fastDeny = configured?.offload?.fastDeny ?? false;
    return [{ name: policy ?? 'default', path, entrypoint, gate, fastDeny }];
  }
  if (authz === undefined) throw wrongUsage('which policy? Name its PATH, or a configuration with --config FILE');
  const names = policy === undefined ? [...authz.policies.keys()] : [policy];
  const found = names.filter((name) => policy !== undefined || authz.policies.get(name)?.offload !== undefined);
  if (found.length === 0) {
    throw new SvidgateError(
      'not_found',
      'no policy has `offload: on`: name one with --policy NAME to see what it would be',
    );
  }
  return found.map((name) => configuredPolicy(name, authz));
}

function configuredPolicy(name: string, authz: AuthzConfig): AskedPolicy {
  const configured = authz.policies.get(name);
  if (configured === undefined) throw new SvidgateError('not_found', `there is no policy ${name} in the configuration`);
  const { path, entrypoint, offload } = configured;
  if (path === undefined) {
    throw new SvidgateError('not_found', `policy ${name} comes from a bundle server: name its bundle, as PATH`);
  }
  const obstacle = offload === undefined ? 'it does not have `offload: on`' : offloadObstacle(authz, name);
  const question = { name, path, entrypoint, gate: gateFactsOf(authz), fastDeny: offload?.fastDeny ?? false };
  return obstacle === undefined ? question : { ...question, obstacle };
}

interface JudgeOptions {
  readonly callers: readonly SpiffeId[];
  readonly program: RegoProgram;
  /** Of the entries file, where there is a configuration. */
  readonly known: KnownPeers | undefined;
}

async function judge(
  { name, path, entrypoint, gate, fastDeny, obstacle }: AskedPolicy,
  options: OffloadCommandOptions & JudgeOptions,
): Promise<ShownOffload> {
  const { program, known } = options;
  const { signal } = new AbortController();
  const snapshot = await pathSource(path, { clock: systemClock }).read(signal);
  const whole = await translatePolicy({ policy: name, snapshot, entrypoint, gate, fastDeny, program, signal });
  const translated = known === undefined ? whole : withKnownPeers(whole, known);
  const about = {
    path,
    entrypoint,
    translated,
    open: openPeers(whole, translated),
    ...(obstacle === undefined ? {} : { obstacle }),
  };
  const { records: from, policy, callers, terminal } = options;
  if (from === undefined) return about;
  const records = openDecisionLog({ from, output: 'text', terminal }, signal);
  // A log of several policies, and one that is known by its name.
  const own = options.config !== undefined || policy !== undefined ? name : undefined;
  const share = await offloadShare(records, translated, { policy: own, callers });
  return { ...about, share, gaps: logGaps(records.counts) };
}

/** Those of the entries file; undefined where there is none: entries are not known without the server. */
async function knownPeers({ config }: OffloadCommandOptions): Promise<KnownPeers | undefined> {
  if (config === undefined) return undefined;
  try {
    const { spiffeIds } = await principalsOfFile({ config });
    return spiffeIds.size === 0 ? undefined : new KnownPeers(() => spiffeIds);
  } catch {
    return undefined; // told by `config check`
  }
}

/** @param told the same rules with those who are known */
function openPeers({ rules }: TranslatedPolicy, told: TranslatedPolicy): ReadonlyMap<string, OpenPeers> {
  const isTold = told.rules !== rules;
  return new Map(
    rules.flatMap(({ id, peer }, index) => {
      if (peer.kind !== 'peers' || !isOpen(peer)) return [];
      const of = peer.of.filter(({ kind }) => kind !== 'exact');
      const now = told.rules[index]?.peer;
      const named = peer.of.length - of.length;
      const known = now?.kind === 'peers' && !isOpen(now) ? now.of.length - named : 0;
      return [[id, isTold ? { of, known } : { of }] as const];
    }),
  );
}

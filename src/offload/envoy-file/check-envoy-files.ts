import { sortMistakes, type Mistake } from '../../config/index.ts';
import { OFFLOAD_NAMES } from '../offload-rules.ts';
import { readEnvoyDocument, type EnvoyNode } from './envoy-node.ts';
import { findPairs, hasOffload, readFilters, type FilterPair } from './filter-pairs.ts';
import { findManagers, findRouteConfigs, type FoundManager } from './find-managers.ts';
import { Findings } from './findings.ts';
import { findClusters, judgeClusters } from './judge-clusters.ts';
import { judgeConnections, type BundleNames } from './judge-connections.ts';
import { judgeExtAuthz } from './judge-ext-authz.ts';
import { judgeOtherFilters } from './judge-other-filters.ts';
import { judgeRbac } from './judge-rbac.ts';
import { judgeGateAlone, judgeRoutes } from './judge-routes.ts';
import { judgeStatsSinks } from './judge-stats-sinks.ts';

export interface EnvoyFile {
  /** As it is to be named in messages. */
  readonly file: string;
  /** A bootstrap, or resources of LDS or RDS, in YAML or JSON. */
  readonly text: string;
}

export interface EnvoyFileFindings {
  /** Why the offload is not safe, or does not work. */
  readonly mistakes: readonly Mistake[];
  /** What may not be meant, and what was not judged. */
  readonly notes: readonly Mistake[];
  /** Connection managers with offload; none of the others is judged. */
  readonly judged: number;
  readonly others: number;
}

/** Policies by name, and whether they are offloaded. */
export type KnownPolicies = ReadonlyMap<string, { readonly offload?: unknown }>;

/** What is known of svidgate's own configuration. */
export interface KnownConfig {
  readonly policies?: KnownPolicies;
  /** Those by default, where absent. */
  readonly bundles?: BundleNames;
}

const BUNDLES: BundleNames = { defaultBundleName: 'ROOTCA', defaultAllBundlesName: 'ALL' };

/**
 * What in the configuration of an Envoy would let a request through that neither its rules nor the gate allow, or would keep
 * the offload from working. Files are judged together: routes of one may be for a listener of another. Never throws because of
 * their text.
 */
export function checkEnvoyFiles(
  files: readonly EnvoyFile[],
  { policies, bundles = BUNDLES }: KnownConfig = {},
): EnvoyFileFindings {
  const documents = files.map(({ file, text }) => readEnvoyDocument(text, file));
  const broken = documents.flatMap(({ mistakes }) => mistakes);
  if (broken.length > 0) return { mistakes: sortMistakes(broken), notes: [], judged: 0, others: 0 };
  const findings = new Findings();
  const roots = documents.map(({ root }) => root);
  const routeConfigs = new Map(roots.flatMap((root) => [...findRouteConfigs(root)]));
  const clusters = new Map(roots.flatMap((root) => [...findClusters(root)]));
  const managers = roots.flatMap(findManagers);
  const judging = { findings, routeConfigs, clusters, policies, bundles };
  const judged = managers.filter((found) => judgeManager(found, judging)).length;
  for (const root of roots) judgeRoot(root, judged > 0, findings);
  const inOrder = (found: readonly Mistake[]): readonly Mistake[] =>
    files.flatMap(({ file }) => sortMistakes(found.filter((each) => each.file === file)));
  return {
    mistakes: inOrder(findings.mistakes),
    notes: inOrder(findings.notes),
    judged,
    others: managers.length - judged,
  };
}

interface Judging {
  readonly findings: Findings;
  readonly routeConfigs: ReadonlyMap<string, EnvoyNode>;
  readonly clusters: ReadonlyMap<string, EnvoyNode>;
  readonly policies: KnownPolicies | undefined;
  readonly bundles: BundleNames;
}

/** False where it has nothing of the offload. */
function judgeManager(found: FoundManager, { findings, routeConfigs, clusters, policies, bundles }: Judging): boolean {
  const { manager } = found;
  const lists = [
    manager.at('http_filters'),
    ...manager.at('upgrade_configs').elements.map((upgrade) => upgrade.at('filters')),
  ];
  const all = lists.map((list) => ({ list, filters: readFilters(list) }));
  if (!all.some(({ filters }) => hasOffload(filters))) return false;
  for (const { list, filters } of all) {
    if (!hasOffload(filters)) {
      judgeGateAlone(manager, { list, filters }, { findings, routeConfigs });
      continue;
    }
    const pairs = findPairs(filters, findings);
    for (const pair of pairs) {
      judgeRbac(pair, findings);
      judgeExtAuthz(pair, findings);
      judgeClusters(pair, clusters, findings);
      judgePolicy(pair, policies, findings);
    }
    const chain = { filters, pairs };
    judgeOtherFilters(chain, findings);
    judgeRoutes(manager, chain, { findings, routeConfigs });
    judgeConnections(found, { pairs, bundles }, findings);
  }
  judgeManagerItself(manager, findings);
  return true;
}

function judgePolicy({ policy, rbac }: FilterPair, policies: KnownPolicies | undefined, findings: Findings): void {
  if (policies === undefined) return;
  const known = policies.get(policy);
  if (known === undefined) {
    const remedy = `name it as \`authz.policies\` does, after ${OFFLOAD_NAMES.resource('')}`;
    findings.refuse(rbac.node, `svidgate has no policy \`${policy}\``, remedy);
  } else if (known.offload === undefined) {
    const remedy = `add \`offload: on\` to it, for fewer calls`;
    findings.note(rbac.node, `policy \`${policy}\` is not offloaded: every request is a call`, remedy);
  }
}

function judgeManagerItself(manager: EnvoyNode, findings: Findings): void {
  if (!manager.at('access_log').elements.some((log) => log.at('typed_config').message.type.includes('.grpc.'))) {
    findings.note(manager, 'requests that need no call are not recorded', 'add the access log of docs/offload.md');
  }
  if (manager.at('normalize_path').value !== true) {
    findings.note(
      manager,
      'paths are judged as they come, and the service may read them otherwise',
      'set `normalize_path: true`, and `path_with_escaped_slashes_action: REJECT_REQUEST`',
    );
  }
}

/** Keys that a file of Envoy has one of, at its top. */
const TOPS = ['static_resources', 'dynamic_resources', 'resources'];

function judgeRoot(root: EnvoyNode, isOffloading: boolean, findings: Findings): void {
  if (!TOPS.some((field) => root.at(field).isSet)) {
    const remedy = `name a file with ${TOPS.map((field) => `\`${field}\``).join(' or ')}`;
    findings.refuse(root, 'neither a bootstrap of Envoy nor resources of LDS or RDS', remedy);
  }
  const lds = root.at('dynamic_resources', 'lds_config');
  if (lds.isSet) {
    findings.note(lds, 'listeners that come by discovery are not judged', 'check their file with one more --envoy');
  }
  // Also where nothing has offload: of two lists of filters, one was looked at.
  refuseTwice(root, findings);
  if (isOffloading && root.at('static_resources').isSet) judgeStatsSinks(root, findings);
}

/** Envoy takes a field under both of its names, and the last one counts. */
function refuseTwice(node: EnvoyNode, findings: Findings): void {
  const seen = new Map<string, string>();
  for (const [key, each] of node.entries) {
    const name = key.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    const other = seen.get(name);
    if (other !== undefined) findings.refuse(each, `\`${key}\` is \`${other}\` once more`, 'keep one of them');
    seen.set(name, key);
    refuseTwice(each, findings);
  }
  for (const each of node.elements) refuseTwice(each, findings);
}

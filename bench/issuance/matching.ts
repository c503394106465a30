import { createSnapshot } from '../../src/registration/index.ts';
import { parseSelector, parseSpiffeId, type RegistrationEntry, type Selector } from '../../src/spiffe/index.ts';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { TRUST_DOMAIN } from '../parts/bench-server.ts';
import { percentile } from '../statistics.ts';

const SIZES = {
  full: { matches: 5000 },
  quick: { matches: 20 },
};

const ENTRY_COUNTS = [100, 10_000, 100_000] as const;

/** Workloads of one namespace. */
const NAMESPACE_SIZE = 50;
/** How many service accounts have a second entry, for a container of theirs. */
const EVERY_SECOND_ENTRY = 10;

/**
 * Entries as a fleet on Kubernetes has them, and callers of it with a dozen selectors each, most of which other callers
 * have as well: how long it takes to find the one or two entries of a caller.
 */
export function measureMatching({ size, progress }: BenchmarkContext): readonly Figure[] {
  const { matches } = SIZES[size];
  return ENTRY_COUNTS.flatMap((count) => {
    progress(`${matches} matches among ${count} entries`);
    const snapshot = createSnapshot(Array.from({ length: count }, (_, index) => entryOf(index)));
    const times = Array.from({ length: matches }, (_, index) => {
      const workload = (index * 7919) % count;
      const selectors = selectorsOf(workload);
      const begin = performance.now();
      const found = snapshot.match(selectors);
      const time = performance.now() - begin;
      if (!found.some(({ entryId }) => entryId === `entry-${workload}`)) throw new Error('a caller was not matched');
      return time * 1000;
    });
    return [
      {
        name: `match_${count}_p50_us`,
        value: percentile(times, 0.5),
        meaning: `one caller among ${count} entries, median`,
      },
      { name: `match_${count}_p99_us`, value: percentile(times, 0.99), meaning: 'the same, 99th percentile' },
    ];
  });
}

function entryOf(index: number): RegistrationEntry {
  const { namespace, account, container } = workloadOf(index);
  const selectors = [`k8s:ns:${namespace}`, `k8s:sa:${account}`];
  if (index % EVERY_SECOND_ENTRY === 0) selectors.push(`k8s:container-name:${container}`);
  return {
    entryId: `entry-${index}`,
    spiffeId: parseSpiffeId(`spiffe://${TRUST_DOMAIN}/ns/${namespace}/sa/${account}/${index}`),
    selectors: selectors.map(parseSelector),
  };
}

function selectorsOf(index: number): ReadonlySet<Selector> {
  const { namespace, account, container } = workloadOf(index);
  const texts = [
    'unix:uid:65532',
    'unix:gid:65532',
    'unix:path:/usr/local/bin/envoy',
    `k8s:ns:${namespace}`,
    `k8s:sa:${account}`,
    `k8s:container-name:${container}`,
    `k8s:container-image:registry.example/team/${account}:v1`,
    `k8s:node-name:node-${index % 500}`,
    `k8s:pod-name:${account}-${index}`,
    `k8s:pod-uid:00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
    `k8s:pod-label:app:${account}`,
    'k8s:pod-label:tier:backend',
  ];
  return new Set(texts.map(parseSelector));
}

function workloadOf(index: number): {
  readonly namespace: string;
  readonly account: string;
  readonly container: string;
} {
  return {
    namespace: `team-${Math.floor(index / NAMESPACE_SIZE)}`,
    // Names such as `api` are the same in every namespace.
    account: `service-${index % NAMESPACE_SIZE}`,
    container: 'proxy',
  };
}

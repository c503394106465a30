import { SvidgateError, type Clock } from '../core/index.ts';
import { locatePod, type PodLocation } from './container-cgroups.ts';
import { createPodList, type KubeletOptions } from './kubelet.ts';
import { createNamespaceLabels, type NamespaceLabelsOptions } from './namespace-labels.ts';
import { containerOf, podValues, type Pod, type PodContainer } from './pod.ts';
import { readCgroups } from './process-files.ts';
import type { WorkloadAttestor } from './workload-attestor.ts';

export interface KubernetesAttestorOptions extends KubeletOptions {
  /** How often the container is looked for: the kubelet lists a new one only when it has heard of it. */
  readonly pollAttempts: number;
  /** How long to wait between two looks, in milliseconds. */
  readonly pollIntervalMs: number;
  /** Also `k8s:ns-label`, which takes a request to the API server. */
  readonly namespaceLabels?: NamespaceLabelsOptions;
  readonly clock: Clock;
  /** For tests: reads /proc/PID/cgroup. */
  readonly cgroupsOf?: (pid: number) => Promise<string>;
}

/** For the requests themselves, beside the waits between. */
const REQUESTS_MS = 10_000;

/**
 * `k8s:` selectors of the pod and container that the caller is in: the kernel tells which they are, the node's kubelet
 * what is known of them. None when the caller is in no pod; an error when the kubelet does not know the container after
 * all attempts, or does not answer.
 */
export function createKubernetesAttestor(options: KubernetesAttestorOptions): WorkloadAttestor {
  const { clock, pollAttempts, pollIntervalMs, cgroupsOf = readCgroups } = options;
  const podList = createPodList(options, clock);
  const namespaceLabels =
    options.namespaceLabels === undefined ? undefined : createNamespaceLabels(options.namespaceLabels, clock);

  return {
    name: 'k8s',
    timeoutMs: pollAttempts * pollIntervalMs + REQUESTS_MS,
    async attest({ pid }, signal) {
      if (pid === 0) return [];
      const location = locatePod(await cgroupsOf(pid));
      switch (location.kind) {
        case 'none':
          return [];
        case 'ambiguous':
          throw new Error('the cgroups of the caller name more than one container');
        case 'found':
      }
      for (let attempt = 1; ; attempt += 1) {
        const found = findIn(await podList.pods(pollIntervalMs / 2, signal), location);
        if (found !== undefined) {
          const values = podValues(found.pod, found.container);
          return namespaceLabels === undefined
            ? values
            : [...values, ...(await namespaceLabels(found.pod.namespace, signal))];
        }
        if (attempt >= pollAttempts) throw new SvidgateError('not_found', 'the kubelet does not know the container');
        await clock.sleep(pollIntervalMs, signal);
      }
    },
  };
}

function findIn(
  pods: readonly Pod[],
  { podUid, containerId }: Extract<PodLocation, { kind: 'found' }>,
): { readonly pod: Pod; readonly container: PodContainer } | undefined {
  const found = pods.flatMap((pod) => {
    const container = podUid === undefined || podUid === pod.uid ? containerOf(pod, containerId) : undefined;
    return container === undefined ? [] : [{ pod, container }];
  });
  if (found.length > 1) throw new Error('the kubelet names two pods with the same container');
  return found[0];
}

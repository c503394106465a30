import { containerCgroups, isInContainer, type ContainerCgroup } from './container-cgroups.ts';
import { getJson } from './http-json.ts';
import { listAt, objectAt, textAt, textsAt } from './json-fields.ts';
import { createLimiter } from './limiter.ts';
import { readCgroups } from './process-files.ts';
import type { WorkloadAttestor } from './workload-attestor.ts';

export interface DockerAttestorOptions {
  /** Unix socket of the engine's API: Docker's, or Podman's with the same API. */
  readonly socket: string;
  /** For tests: reads /proc/PID/cgroup. */
  readonly cgroupsOf?: (pid: number) => Promise<string>;
}

const TIMEOUT_MS = 5000;
/** Asking the engine for more than this at once would make it slower, not faster. */
const MAX_REQUESTS = 16;
/** Some hundred labels and variables of the greatest length. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** What the engine says of a running container. */
interface Container {
  /** The first process, in the engine's pid namespace. */
  readonly pid: number;
  readonly values: readonly string[];
}

/**
 * `docker:` selectors: labels, environment, image name and image digest of the container that the caller is in. The
 * kernel tells the container's id, the engine tells about it, and it must be the same container for both: its first
 * process is in the same cgroup as the caller. None when the engine knows no such container.
 */
export function createDockerAttestor(options: DockerAttestorOptions): WorkloadAttestor {
  const { socket, cgroupsOf = readCgroups } = options;
  const limited = createLimiter(MAX_REQUESTS);
  const inspect = (id: string, signal: AbortSignal): Promise<Container | undefined> =>
    limited(() => inspectContainer(socket, id, signal), signal);

  const attestIn = async (cgroup: ContainerCgroup, signal: AbortSignal): Promise<readonly string[] | undefined> => {
    const container = await inspect(cgroup.id, signal);
    if (container === undefined) return undefined;
    const first = await cgroupsOf(container.pid).catch(() => '');
    if (!isInContainer(first, cgroup)) throw new Error('the caller is not in the container that its cgroup names');
    // Only now it is sure that the first process was the container's when its cgroup was read.
    const later = await inspect(cgroup.id, signal);
    if (later?.pid !== container.pid) throw new Error('the container was started anew during attestation');
    return container.values;
  };

  return {
    name: 'docker',
    timeoutMs: TIMEOUT_MS,
    async attest({ pid }, signal) {
      if (pid === 0) return [];
      // From the outside in: an engine that runs inside of a container does not know the outer one.
      const unknown = new Set<string>();
      for (const cgroup of containerCgroups(await cgroupsOf(pid))) {
        const values = unknown.has(cgroup.id) ? undefined : await attestIn(cgroup, signal);
        if (values !== undefined) return values;
        unknown.add(cgroup.id);
      }
      return [];
    },
  };
}

/** Undefined when the engine has no such container. */
async function inspectContainer(socket: string, id: string, signal: AbortSignal): Promise<Container | undefined> {
  const answer = await getJson(
    { kind: 'unix', socket },
    {
      path: `/containers/${id}/json`,
      headers: { host: 'docker', accept: 'application/json' },
      maxBytes: MAX_ANSWER_BYTES,
      signal,
    },
  );
  if (answer === undefined) return undefined;
  if (textAt(answer, 'Id') !== id) throw new Error('the engine answered for another container');
  const state = objectAt(answer, 'State');
  const pid = objectAt(state, 'Pid');
  if (objectAt(state, 'Running') !== true || typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0) {
    throw new Error('the container is not running');
  }
  return { pid, values: valuesOf(answer) };
}

/** The environment last: where there is too much, its end is left out. */
function valuesOf(answer: unknown): readonly string[] {
  const config = objectAt(answer, 'Config');
  const image = textAt(config, 'Image');
  const digest = textAt(answer, 'Image');
  return [
    ...(image === '' ? [] : [`image_id:${image}`]),
    // Podman leaves the algorithm out.
    ...(digest === '' ? [] : [`image_config_digest:${/^[0-9a-f]{64}$/.test(digest) ? `sha256:${digest}` : digest}`]),
    ...textsAt(config, 'Labels').map(([name, text]) => `label:${name}:${text}`),
    ...listAt(config, 'Env').flatMap((variable) => (typeof variable === 'string' ? [`env:${variable}`] : [])),
  ];
}

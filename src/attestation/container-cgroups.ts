/**
 * Containers in the text of /proc/PID/cgroup (cgroups(7)). Only this file is asked: what a process mounts is its own
 * affair, so its mountinfo can name any container. But whoever owns a cgroup can make others beneath it, under any name:
 * so names count by where they stand, the outermost first, and not beneath cgroups that users are given.
 */

/** A container that a process is in, by one line of the file. */
export interface ContainerCgroup {
  /** 64 lower case hexadecimal digits. */
  readonly id: string;
  /** The line's hierarchy and controllers. */
  readonly hierarchy: string;
  /** The path of the container's own cgroup. */
  readonly path: string;
}

/** The containers that a process is in, outermost first, and by hierarchy. At most MAX_CONTAINERS. Never throws. */
export function containerCgroups(text: string): readonly ContainerCgroup[] {
  const found: { readonly depth: number; readonly container: ContainerCgroup }[] = [];
  for (const { hierarchy, segments } of linesOf(text)) {
    for (const [depth, segment] of segments.entries()) {
      const id = containerIdOf(segment);
      if (id === undefined) continue;
      found.push({ depth, container: { id, hierarchy, path: pathOf(segments.slice(0, depth + 1)) } });
    }
  }
  const inOrder = found.sort((one, other) => one.depth - other.depth);
  return inOrder.slice(0, MAX_CONTAINERS).map(({ container }) => container);
}

/** Whether the process with these cgroups is in the container, that is in its cgroup or beneath. */
export function isInContainer(text: string, { hierarchy, path }: ContainerCgroup): boolean {
  return linesOf(text).some(
    (line) => line.hierarchy === hierarchy && `${pathOf(line.segments)}/`.startsWith(`${path}/`),
  );
}

/** Where in Kubernetes a process runs. */
export type PodLocation =
  | { readonly kind: 'none' }
  /** Two lines name different pods or containers. */
  | { readonly kind: 'ambiguous' }
  | {
      readonly kind: 'found';
      /** Absent when the container is in our own pod, whose name is not in the path then. */
      readonly podUid?: string;
      readonly containerId: string;
    };

type FoundPod = Extract<PodLocation, { kind: 'found' }>;

/**
 * The pod and container, in the layouts of the kubelet's drivers (cgroupfs and systemd, v1 and v2) and of containerd,
 * CRI-O and Docker. A line that names a pod counts more than one that names none. Never throws.
 */
export function locatePod(text: string): PodLocation {
  const all = linesOf(text).flatMap(({ segments }) => podOf(segments) ?? []);
  const withPod = all.filter(({ podUid }) => podUid !== undefined);
  const [first, ...others] = withPod.length > 0 ? withPod : all;
  if (first === undefined) return { kind: 'none' };
  const agree = others.every(({ podUid, containerId }) => podUid === first.podUid && containerId === first.containerId);
  return agree ? first : { kind: 'ambiguous' };
}

function podOf(segments: readonly string[]): FoundPod | undefined {
  for (const [depth, segment] of segments.entries()) {
    const match = POD_SEGMENT.exec(segment)?.groups;
    const uid = match?.['uid'];
    if (uid !== undefined) {
      // containerd's systemd cgroups without a scope: kubepods-…-podUID.slice:cri-containerd:ID
      const containerId = match?.['id'] ?? containerIdOf(segments[depth + 1] ?? '');
      return containerId === undefined ? undefined : { kind: 'found', podUid: uid.replaceAll('_', '-'), containerId };
    }
    if (isGivenToUsers(segment)) return undefined;
  }
  return siblingOf(segments);
}

/** A container of our own pod, seen from our own container: /../ID. */
function siblingOf(segments: readonly string[]): FoundPod | undefined {
  const depth = segments.findIndex((segment) => segment !== '..');
  const containerId = depth < 1 ? undefined : containerIdOf(segments[depth] ?? '');
  return containerId === undefined ? undefined : { kind: 'found', containerId };
}

const MAX_CONTAINERS = 16;

const HEX_UID = '[0-9a-f]{8}(?<dash>[-_])[0-9a-f]{4}\\k<dash>[0-9a-f]{4}\\k<dash>[0-9a-f]{4}\\k<dash>[0-9a-f]{12}';
/** `podUID`, or systemd's `kubepods-burstable-podUID.slice` with `_` for `-`. A static pod's UID is 32 digits of a hash. */
const POD_SEGMENT = new RegExp(
  `^(?:[A-Za-z0-9._-]+-)?pod(?<uid>${HEX_UID}|[0-9a-f]{32})(?:\\.slice)?(?::[a-z-]+:(?<id>[0-9a-f]{64}))?$`,
);

/** `ID`, `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-ID.scope`. */
const CONTAINER_SEGMENT = /^(?:(?<runtime>[a-z][a-z0-9-]*)-)?(?<id>[0-9a-f]{64})(?:\.scope)?$/;

/** The monitor beside a container has its id in its name, and is none of its processes. */
function containerIdOf(segment: string): string | undefined {
  const { runtime, id } = CONTAINER_SEGMENT.exec(segment)?.groups ?? {};
  return runtime?.endsWith('conmon') === true ? undefined : id;
}

/** Container runtimes and kubelets whose own service holds the pods. */
const RUNTIME_SERVICE =
  /^(?:containerd|cri-?o|cri-docker|docker|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|k0sworker|k0scontroller|snap\.microk8s\.[a-z-]+)\.service$/;

/** Cgroups that users, services (Delegate=), virtual machines and system containers own: they make what they like beneath. */
function isGivenToUsers(segment: string): boolean {
  if (/^(?:user(?:-\d+)?\.slice|machine\.slice|lxc|lxc\.payload(?:\..+)?)$/.test(segment)) return true;
  return segment.endsWith('.service') && !RUNTIME_SERVICE.test(segment);
}

interface CgroupLine {
  readonly hierarchy: string;
  readonly segments: readonly string[];
}

/** `hierarchy:controllers:/path`, one a line. Lines that are none are passed over. */
function linesOf(text: string): readonly CgroupLine[] {
  return text.split('\n').flatMap((line) => {
    const { hierarchy, path } = /^(?<hierarchy>\d+:[^:]*):\/(?<path>.*)$/.exec(line)?.groups ?? {};
    return hierarchy === undefined || path === undefined ? [] : [{ hierarchy, segments: path.split('/') }];
  });
}

function pathOf(segments: readonly string[]): string {
  return `/${segments.join('/')}`;
}

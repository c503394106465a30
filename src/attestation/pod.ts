import { listAt, objectAt, textAt, textsAt } from './json-fields.ts';

/** What is looked at of a pod in the kubelet's list. Texts that it does not have are empty. */
export interface Pod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly nodeName: string;
  readonly labels: readonly (readonly [name: string, text: string])[];
  readonly owners: readonly PodOwner[];
  readonly containers: readonly PodContainer[];
  readonly initContainers: readonly PodContainer[];
}

interface PodOwner {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** Of a container's status. */
export interface PodContainer {
  /** Without the runtime's scheme; empty while it is not there yet. */
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
}

/** The pods of a kubelet's answer (PodList of the core/v1 API); those without a UID are passed over. */
export function parsePodList(answer: unknown): readonly Pod[] {
  if (textAt(answer, 'kind') !== 'PodList') throw new Error('the kubelet answered with something else than a PodList');
  return listAt(answer, 'items')
    .map(parsePod)
    .filter(({ uid }) => uid !== '');
}

function parsePod(item: unknown): Pod {
  const metadata = objectAt(item, 'metadata');
  const spec = objectAt(item, 'spec');
  const status = objectAt(item, 'status');
  return {
    uid: textAt(metadata, 'uid'),
    name: textAt(metadata, 'name'),
    namespace: textAt(metadata, 'namespace'),
    serviceAccount: textAt(spec, 'serviceAccountName'),
    nodeName: textAt(spec, 'nodeName'),
    labels: textsAt(metadata, 'labels'),
    owners: listAt(metadata, 'ownerReferences').map((owner) => ({
      kind: textAt(owner, 'kind'),
      name: textAt(owner, 'name'),
      uid: textAt(owner, 'uid'),
    })),
    containers: listAt(status, 'containerStatuses').map(parseContainer),
    initContainers: listAt(status, 'initContainerStatuses').map(parseContainer),
  };
}

function parseContainer(status: unknown): PodContainer {
  return {
    id: textAt(status, 'containerID').replace(/^[a-z-]+:\/\//, ''),
    name: textAt(status, 'name'),
    image: textAt(status, 'image'),
    imageId: textAt(status, 'imageID'),
  };
}

/** The container of the pod with this id, an init container too. */
export function containerOf(pod: Pod, id: string): PodContainer | undefined {
  return [...pod.containers, ...pod.initContainers].find((container) => container.id === id);
}

/** The selector values of one container in its pod; what the pod does not have is left out. Those that it can have many of come last. */
export function podValues(pod: Pod, container: PodContainer): readonly string[] {
  const named: readonly (readonly [kind: string, text: string])[] = [
    ['ns', pod.namespace],
    ['sa', pod.serviceAccount],
    ['pod-name', pod.name],
    ['pod-uid', pod.uid],
    ['node-name', pod.nodeName],
    ['container-name', container.name],
    ...imagesOf('container-image', [container]),
    ['pod-image-count', String(pod.containers.length)],
    ['pod-init-image-count', String(pod.initContainers.length)],
    ...pod.owners.flatMap(ownerValues),
    ...imagesOf('pod-image', pod.containers),
    ...imagesOf('pod-init-image', pod.initContainers),
  ];
  return [
    ...named.flatMap(([kind, text]) => (text === '' ? [] : [`${kind}:${text}`])),
    ...pod.labels.map(([name, text]) => `pod-label:${name}:${text}`),
  ];
}

function ownerValues({ kind, name, uid }: PodOwner): readonly (readonly [kind: string, text: string])[] {
  return [
    ['pod-owner', name === '' ? '' : `${kind}:${name}`],
    ['pod-owner-uid', uid === '' ? '' : `${kind}:${uid}`],
  ];
}

/** Each image by the name in the pod's specification and by the one with its digest. */
function imagesOf(kind: string, containers: readonly PodContainer[]): (readonly [kind: string, text: string])[] {
  return containers.flatMap(({ image, imageId }) => [[kind, image] as const, [kind, imageId] as const]);
}

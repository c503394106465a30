import {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  encodeMessage,
  Secret,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
  unpackAny,
  type DeltaDiscoveryRequestInit,
} from '../../src/proto/index.ts';
import type { ByteStream, RawClient } from './grpc-client.ts';

const MAX_BYTES = 16 * 1024 * 1024;

/** One call of the incremental variant of xDS, driven step by step. */
export interface DeltaStream extends Pick<
  ByteStream<DeltaDiscoveryResponse>,
  'next' | 'ended' | 'cancel' | 'sendBytes'
> {
  send(request: DeltaDiscoveryRequestInit): void;
  subscribe(...names: readonly string[]): void;
  ack(response: DeltaDiscoveryResponse, more?: DeltaDiscoveryRequestInit): void;
  nack(response: DeltaDiscoveryResponse, reason: string): void;
  waiting(): number;
}

export function openDelta(client: RawClient, path: string = SECRET_DISCOVERY_SERVICE.deltaSecrets.path): DeltaStream {
  const stream = client.open(path, DeltaDiscoveryResponse);
  const send: DeltaStream['send'] = (request) =>
    stream.sendBytes(encodeMessage(DeltaDiscoveryRequest, { typeUrl: SECRET_TYPE_URL, ...request }));
  return {
    send,
    sendBytes: (bytes) => stream.sendBytes(bytes),
    next: () => stream.next(),
    ended: stream.ended,
    cancel: () => stream.cancel(),
    subscribe: (...resourceNamesSubscribe) => send({ resourceNamesSubscribe }),
    ack: ({ nonce: responseNonce }, more) => send({ responseNonce, ...more }),
    nack: ({ nonce: responseNonce }, message) => send({ responseNonce, errorDetail: { code: 13, message } }),
    waiting: () => stream.waiting,
  };
}

/** The secrets of a response by name. */
export function secretsIn({ resources }: DeltaDiscoveryResponse): ReadonlyMap<string, Secret> {
  return new Map(
    resources.map(({ name, resource }) => {
      if (resource === null) throw new Error(`${name} holds nothing`);
      return [name, unpackAny(Secret, resource, MAX_BYTES)];
    }),
  );
}

export function versionsIn({ resources }: DeltaDiscoveryResponse): Readonly<Record<string, string>> {
  return Object.fromEntries(resources.map(({ name, version }) => [name, version]));
}

/** A process with one or more connections, each with a call that is given identities: a stream of SDS or of the Workload API. */
import {
  decodeMessage,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  Secret,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
  WORKLOAD_API_SERVICE,
  X509SvidResponse,
} from '../../src/proto/index.ts';
import { sharedClockMs } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';
import { openWireCall, type WireCall, type WireMessage } from './wire-call.ts';

/** What one connection asks for: all that its process has, by the Workload API, or secrets by name. */
export type Asked = { readonly kind: 'workload-api' } | { readonly kind: 'sds'; readonly names: readonly string[] };

export interface Opening {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** One for each connection. */
  readonly asked: readonly Asked[];
}

export interface FirstAnswers {
  readonly beganAt: number;
  /** When each connection had its first answer. */
  readonly servedAt: readonly number[];
  /** The SPIFFE IDs in the answer of each connection. */
  readonly spiffeIds: readonly (readonly string[])[];
}

/** An answer that came after the first one of its connection. */
export interface LaterAnswer {
  readonly connection: number;
  readonly at: number;
}

const MAX_BYTES = 64 * 1024 * 1024;

const later: LaterAnswer[] = [];
let calls: WireCall[] = [];
let failure: Error | undefined;

const jobs = {
  /** Opens all connections at once; they stay open. Answers are decoded when all are there. */
  async open({ socket, asked }: Opening): Promise<FirstAnswers> {
    const first = asked.map(() => Promise.withResolvers<WireMessage>());
    const requests = asked.map(requestOf);
    const beganAt = sharedClockMs();
    const opened = asked.map((what, connection) => {
      let count = 0;
      return openWireCall({
        socket,
        path:
          what.kind === 'sds' ? SECRET_DISCOVERY_SERVICE.streamSecrets.path : WORKLOAD_API_SERVICE.fetchX509Svid.path,
        request: requests[connection]!,
        isWhole: what.kind === 'workload-api',
        onMessage: (message) => {
          count += 1;
          if (count === 1) first[connection]?.resolve(message);
          else later.push({ connection, at: message.at });
          if (what.kind === 'sds') acknowledge(opened[connection], message, what.names);
        },
        onEnd: (reason) => {
          failure ??= new Error(reason);
          first[connection]?.reject(failure);
        },
      });
    });
    calls = opened;
    const answers = await Promise.all(first.map(({ promise }) => promise));
    return {
      beganAt,
      servedAt: answers.map(({ at }) => at),
      spiffeIds: answers.map(({ bytes }, connection) => idsIn(bytes, asked[connection]!)),
    };
  },
  /** What has come since the last time. */
  async take(): Promise<readonly LaterAnswer[]> {
    if (failure !== undefined) throw failure;
    return later.splice(0);
  },
  async close(): Promise<void> {
    for (const call of calls.splice(0)) call.close();
    later.splice(0);
  },
};

export type IdentityJobs = typeof jobs;

serveJobs(jobs);

function requestOf(asked: Asked): Uint8Array {
  if (asked.kind === 'workload-api') return new Uint8Array();
  return encodeMessage(DiscoveryRequest, {
    typeUrl: SECRET_TYPE_URL,
    resourceNames: asked.names,
    node: { id: 'bench' },
  });
}

function acknowledge(call: WireCall | undefined, { bytes }: WireMessage, resourceNames: readonly string[]): void {
  const { versionInfo, nonce: responseNonce } = decodeMessage(DiscoveryResponse, bytes, MAX_BYTES);
  const request = { typeUrl: SECRET_TYPE_URL, resourceNames, versionInfo, responseNonce };
  call?.send(encodeMessage(DiscoveryRequest, request));
}

function idsIn(bytes: Uint8Array, asked: Asked): readonly string[] {
  if (asked.kind === 'workload-api') {
    return decodeMessage(X509SvidResponse, bytes, MAX_BYTES).svids.map(({ spiffeId }) => spiffeId);
  }
  const { resources } = decodeMessage(DiscoveryResponse, bytes, MAX_BYTES);
  return resources.map(({ value }) => decodeMessage(Secret, value, MAX_BYTES).name);
}

import type { UnknownName } from './discovery-session.ts';
import type { DiscoveryCaller, FollowResources } from './resource-view.ts';

/** One type of resources that attested callers may ask for, by a service of its own and under ADS. */
export interface ResourceType<Subject> {
  readonly typeUrl: string;
  readonly service: DiscoveryService;
  /** What a name that the caller has no right to does: an error, or nothing until it has. */
  readonly unknownName: UnknownName;
  /** What the caller is, now and after each change, until the signal is aborted. */
  subjects(caller: DiscoveryCaller, signal: AbortSignal): AsyncIterable<Subject>;
  /** What names stand for. */
  readonly follow: FollowResources<Subject>;
  /** What they stand for in the answer to a Fetch call, which nothing renews; the same when absent. */
  readonly followFetched?: FollowResources<Subject>;
  readonly signals: ResourceSignals;
}

/** The methods of its own service. */
export interface DiscoveryService {
  readonly sotw: ServiceMethod;
  readonly delta: ServiceMethod;
  readonly fetch: ServiceMethod;
}

export interface ServiceMethod {
  /** Without the service's name, as the audit log has it. */
  readonly name: string;
  /** The HTTP/2 :path. */
  readonly path: string;
}

/** Under which names the streams of a type are counted and logged. */
export interface ResourceSignals {
  readonly pushes: 'svidgate_sds_pushes_total' | 'svidgate_offload_pushes_total';
  readonly nacks: 'svidgate_sds_nacks_total' | 'svidgate_offload_nacks_total';
  readonly pushSeconds: 'svidgate_sds_push_seconds' | 'svidgate_offload_push_seconds';
  readonly pushedMessage: string;
  readonly removedMessage: string;
  readonly refusedMessage: string;
}

/** Many Envoys as xDS sees them: connections with streams, each of which asks for resources and acknowledges what comes. */
import {
  EXTENSION_CONFIG_DISCOVERY_SERVICE,
  EXTENSION_CONFIG_TYPE_URL,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
} from '../../src/proto/index.ts';
import { subscriptionTo, type Protocol } from './discovery-wire.ts';
import { sharedClockMs } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';
import { openWireConnection, type WireConnection, type WireStream } from './wire-connection.ts';

export interface FleetOpening {
  /** What the streams are called in the other jobs. */
  readonly fleet: string;
  /** Path of the Unix socket. */
  readonly socket: string;
  readonly protocol: Protocol;
  /** Default: secrets. */
  readonly resources?: 'secrets' | 'rules';
  /** A shorter answer is acknowledged and not counted. Default: all are. */
  readonly countedFromBytes?: number;
  /** For each connection, for each of its streams: the names it asks for. */
  readonly connections: readonly (readonly (readonly string[])[])[];
  /** The effective group of this process while it makes each connection: what the kernel tells the server. Root only. */
  readonly gids?: readonly number[];
}

export interface FirstServed {
  readonly beganAt: number;
  /** When each stream had its first answer. */
  readonly servedAt: Float64Array;
  /** The first answer of the first stream. */
  readonly sample: Uint8Array;
}

export interface Arrivals {
  /** When each stream had its first answer since `arm`. */
  readonly at: Float64Array;
  /** Received since then, frames and all. */
  readonly bytes: number;
}

const { streamSecrets, deltaSecrets } = SECRET_DISCOVERY_SERVICE;
const { streamExtensionConfigs, deltaExtensionConfigs } = EXTENSION_CONFIG_DISCOVERY_SERVICE;
const RESOURCES = {
  secrets: { typeUrl: SECRET_TYPE_URL, sotw: streamSecrets.path, delta: deltaSecrets.path },
  rules: {
    typeUrl: EXTENSION_CONFIG_TYPE_URL,
    sotw: streamExtensionConfigs.path,
    delta: deltaExtensionConfigs.path,
  },
} as const satisfies Record<string, Record<Protocol | 'typeUrl', string>>;

class Fleet {
  readonly #connections: WireConnection[] = [];
  #at = new Float64Array();
  #missing = 0;
  #further = 0;
  #bytesBefore = 0;
  #done = Promise.withResolvers<void>();
  #failure: Error | undefined;

  async open(opening: FleetOpening): Promise<FirstServed> {
    const { socket, protocol, resources, connections, gids, countedFromBytes = 0 } = opening;
    const { typeUrl, [protocol]: path } = RESOURCES[resources ?? 'secrets'];
    const subscriptions = connections.map((streams) =>
      streams.map((names) => subscriptionTo(names, protocol, typeUrl)),
    );
    const sample = Promise.withResolvers<Uint8Array>();
    this.#begin(subscriptions.flat().length);
    const beganAt = sharedClockMs();
    let count = 0;
    const ownGid = process.getegid?.() ?? -1;
    for (const [number, streams] of subscriptions.entries()) {
      const gid = gids?.[number];
      if (gid !== undefined) process.setegid?.(gid);
      const connection = openWireConnection(socket, (reason) => this.#fail(new Error(reason)));
      this.#connections.push(connection);
      for (const subscription of streams) {
        const index = count;
        count += 1;
        const stream: WireStream = connection.call({
          path,
          request: subscription.first,
          isWhole: false,
          onMessage: ({ bytes, at }) => {
            stream.send(subscription.acknowledge(bytes));
            if (bytes.length < countedFromBytes) return;
            if (index === 0) sample.resolve(bytes);
            this.#arrived(index, at);
          },
        });
      }
    }
    if (gids !== undefined) process.setegid?.(ownGid);
    await this.#done.promise;
    return { beganAt, servedAt: this.#at, sample: Buffer.from(await sample.promise) };
  }

  arm(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#begin(this.#at.length);
    this.#bytesBefore = this.#received();
  }

  async arrivals(): Promise<Arrivals> {
    await this.#done.promise;
    return { at: this.#at, bytes: this.#received() - this.#bytesBefore };
  }

  /** Answers since `arm` that were not the first ones of their streams, and the first ones of streams that await none. */
  unneeded(awaited: boolean): number {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#further + (awaited ? 0 : this.#at.length - this.#missing);
  }

  close(): void {
    for (const connection of this.#connections.splice(0)) connection.close();
  }

  #begin(streams: number): void {
    this.#at = new Float64Array(streams);
    this.#missing = streams;
    this.#further = 0;
    this.#done = Promise.withResolvers();
    // Whoever waits is told; nobody may be waiting yet.
    this.#done.promise.catch(() => undefined);
  }

  #arrived(index: number, at: number): void {
    if (this.#at[index] !== 0) {
      this.#further += 1;
      return;
    }
    this.#at[index] = at;
    this.#missing -= 1;
    if (this.#missing === 0) this.#done.resolve();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#done.reject(error);
  }

  #received(): number {
    return this.#connections.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0);
  }
}

const fleets = new Map<string, Fleet>();

function fleetOf(name: string): Fleet {
  const fleet = fleets.get(name);
  if (fleet === undefined) throw new Error(`no fleet ${name} is open`);
  return fleet;
}

const jobs = {
  /** Opens all streams at once; they stay open. */
  async open(opening: FleetOpening): Promise<FirstServed> {
    const fleet = new Fleet();
    fleets.set(opening.fleet, fleet);
    return await fleet.open(opening);
  },
  /** From now on answers are counted anew. */
  async arm(fleet: string): Promise<void> {
    fleetOf(fleet).arm();
  },
  /** Waits until each stream has had an answer since `arm`. */
  async arrivals(fleet: string): Promise<Arrivals> {
    return await fleetOf(fleet).arrivals();
  },
  /** Pushes since `arm` beyond one for each stream, or all of them when none is awaited. */
  async unneeded({ fleet, awaited }: { readonly fleet: string; readonly awaited: boolean }): Promise<number> {
    return fleetOf(fleet).unneeded(awaited);
  },
  async close(fleet: string): Promise<void> {
    fleetOf(fleet).close();
    fleets.delete(fleet);
  },
};

export type SdsJobs = typeof jobs;

serveJobs(jobs);

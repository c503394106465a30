import { startLoad, type Sample } from '../../tools/demo/load.ts';
import { startSdsEnvoy, type SdsEnvoy, type SdsEnvoyOptions } from './sds-envoy.ts';
import { entriesFor } from './server.ts';

/** Two Envoys that speak mTLS over some port pairs, each port with an SVID of its own. */
export interface MtlsPairs extends AsyncDisposable {
  readonly callee: SdsEnvoy;
  readonly caller: SdsEnvoy;
  /** How often an SVID or a bundle was taken, by both together. */
  updates(): Promise<number>;
  /** Of the SVIDs in use, at both ends. */
  serials(): Promise<readonly string[]>;
}

export type MtlsPairsOptions = Omit<SdsEnvoyOptions, 'name' | 'inward' | 'outward'> & { readonly pairs: number };

/** One pair keeps its connection, the next makes a new one for each request, the third for every few. */
const REQUESTS_PER_CONNECTION = [undefined, 1, 5];

const numbers = (pairs: number): readonly number[] => Array.from({ length: pairs }, (_, index) => index);

/** entries.yaml for these pairs and further paths. */
export function pairEntries(pairs: number, ...more: readonly string[]): string {
  return entriesFor(...numbers(pairs).flatMap((index) => [`/callee/${index}`, `/caller/${index}`]), ...more);
}

export async function startMtlsPairs({ pairs, ...options }: MtlsPairsOptions): Promise<MtlsPairs> {
  const ports = (side: string) =>
    numbers(pairs).map((index) => ({
      name: String(index),
      svid: `spiffe://example.test/${side}/${index}`,
      context: 'ROOTCA',
    }));
  const callee = await startSdsEnvoy({ ...options, name: 'callee', inward: ports('callee') });
  try {
    const outward = ports('caller').map((port, index) => {
      const requestsPerConnection = REQUESTS_PER_CONNECTION[index % REQUESTS_PER_CONNECTION.length];
      const bound = requestsPerConnection === undefined ? {} : { requestsPerConnection };
      return { ...port, target: callee.at(port.name), ...bound };
    });
    const caller = await startSdsEnvoy({ ...options, name: 'caller', outward });
    return {
      callee,
      caller,
      updates: async () => (await callee.tlsUpdates()) + (await caller.tlsUpdates()),
      serials: async () => [...(await callee.serials()), ...(await caller.serials())],
      async [Symbol.asyncDispose]() {
        await caller[Symbol.asyncDispose]();
        await callee[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await callee[Symbol.asyncDispose]();
    throw error;
  }
}

/** Enough for hundreds of requests a second, a third of them with a handshake, and for two processors. */
const PAUSE_MS = 20;

/** Requests through all ports of a caller, again and again, until it is stopped. */
export interface PairsLoad extends AsyncDisposable {
  samples(): readonly Sample[];
  /** Those that were not answered with 200. */
  failed(): readonly Sample[];
  stop(): Promise<void>;
}

export function loadPairs({ caller }: MtlsPairs, pairs: number): PairsLoad {
  const loads = numbers(pairs).map((index) =>
    startLoad({ endpoint: caller.at(String(index)), call: { path: '/' }, workers: 2, pauseMs: PAUSE_MS }),
  );
  const samples = (): readonly Sample[] => loads.flatMap((load) => load.samples);
  const stop = async (): Promise<void> => void (await Promise.all(loads.map((load) => load.stop())));
  return {
    samples,
    failed: () => samples().filter(({ status }) => status !== 200),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Many Envoys as SDS sees them: a connection each, with one stream for the certificate and one for the trust bundle. */
import { connect } from '../../test/support/grpc-client.ts';
import { sharedClockMs } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';

export type StreamKind = 'certificate' | 'bundle';

/** A response that came after the first one of its stream. */
export interface Push {
  readonly envoy: number;
  readonly kind: StreamKind;
  /** sharedClockMs(). */
  readonly at: number;
}

export interface FirstServed {
  readonly beganAt: number;
  /** When each stream had its first secret. */
  readonly servedAt: readonly number[];
}

const NAMES = { certificate: 'default', bundle: 'ROOTCA' } as const satisfies Record<StreamKind, string>;

const pushes: Push[] = [];
let failure: Error | undefined;

const jobs = {
  /** Opens all streams at once; they stay open. */
  async open({ address, envoys }: { readonly address: string; readonly envoys: number }): Promise<FirstServed> {
    const beganAt = sharedClockMs();
    const served = Array.from({ length: envoys }, (_, envoy) => openEnvoy(address, envoy));
    return { beganAt, servedAt: await Promise.all(served.flat()) };
  },
  /** What has come since the last time. */
  async take(): Promise<readonly Push[]> {
    if (failure !== undefined) throw failure;
    return pushes.splice(0);
  },
};

export type SdsJobs = typeof jobs;

serveJobs(jobs);

function openEnvoy(address: string, envoy: number): readonly Promise<number>[] {
  const client = connect(address);
  return (['certificate', 'bundle'] as const).map((kind) => {
    const stream = client.streamSecrets();
    const names = [NAMES[kind]];
    stream.send({ resourceNames: names, node: { id: `envoy-${envoy}` } });
    const first = Promise.withResolvers<number>();
    const read = async (): Promise<never> => {
      for (let count = 0; ; count += 1) {
        const response = await stream.next();
        const at = sharedClockMs();
        if (count === 0) first.resolve(at);
        else pushes.push({ envoy, kind, at });
        stream.ack(response, names);
      }
    };
    read().catch((error: Error) => {
      failure ??= error;
      first.reject(error);
    });
    return first.promise;
  });
}

/** Services that lose their identities: each holds its SVID by SDS and sends requests on connections that stay open. */
import { setTimeout as pause } from 'node:timers/promises';
import { X509Certificate } from 'node:crypto';
import { connect, type RawClient } from '../../test/support/grpc-client.ts';
import { openHttp, type HttpConnection } from './http-connection.ts';
import { fetchPeerIdentity } from './identity.ts';
import { sharedClockMs } from './measure.ts';
import { serveJobs } from './serve-jobs.ts';

export interface Opening {
  readonly sds: string;
  readonly address: string;
  readonly port: number;
  readonly spiffeIds: readonly string[];
  /** Of each. */
  readonly connections: number;
}

/** One request, in milliseconds of sharedClockMs(). */
export interface Sent {
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly status: number;
}

interface Service {
  readonly connections: readonly HttpConnection[];
  /** Since `begin`. */
  answers: Sent[][];
  isSending: boolean;
  /** Resolves when the loops have ended; rejects when one fails. */
  sending: Promise<unknown>;
}

/** Requests of a connection after a change, the last of which end a round. */
const AFTER = 3;
const LIMIT_MS = 60_000;
const RETRY_MS = 200;
const STATUSES = [200, 403];

const services: Service[] = [];

const jobs = {
  /** Fetches the identities and opens the connections. Gives the serials of the SVIDs that these show. */
  async open({ sds, address, port, spiffeIds, connections: count }: Opening): Promise<readonly string[]> {
    const serials: string[] = [];
    const client = connect(sds);
    for (const spiffeId of spiffeIds) {
      const identity = await fetchPeerIdentity(sds, spiffeId);
      serials.push(new X509Certificate(identity.certificateChain).serialNumber.toLowerCase());
      const connections: HttpConnection[] = [];
      for (let number = 0; number < count; number += 1) connections.push(await openHttp({ address, port, identity }));
      services.push({ connections, answers: [], isSending: false, sending: Promise.resolve() });
      void hold(client, spiffeId);
    }
    return serials;
  },
  /** One service sends again and again on each of its connections. Resolves when each has had an allow. */
  async begin(number: number): Promise<void> {
    const service = serviceOf(number);
    service.answers = service.connections.map(() => []);
    service.isSending = true;
    service.sending = Promise.all(
      service.connections.map((connection, index) => send(service, connection, service.answers[index]!)),
    );
    service.sending.catch(() => undefined); // told to whoever asks for the answers
    await reached(service, (answers) => answers.at(-1)?.status === 200);
  },
  /** Stops after some requests on each connection that were sent after `after`. Gives all of the round, in no order. */
  async end({ service: number, after }: { readonly service: number; readonly after: number }): Promise<Sent[]> {
    const service = serviceOf(number);
    await reached(service, (answers) => (answers.at(-AFTER)?.sentAt ?? 0) > after);
    service.isSending = false;
    await service.sending;
    return service.answers.flat();
  },
};

export type RevokedJobs = typeof jobs;

serveJobs(jobs);

function serviceOf(number: number): Service {
  const service = services[number];
  if (service === undefined) throw new Error(`there is no service ${number}`);
  return service;
}

async function send(service: Service, connection: HttpConnection, answers: Sent[]): Promise<void> {
  for (let count = 0; service.isSending; count += 1) {
    const sentAt = sharedClockMs();
    const status = await connection.get(`/orders/${count % 64}`);
    if (!STATUSES.includes(status)) throw new Error(`answer ${status}`);
    answers.push({ sentAt, answeredAt: sharedClockMs(), status });
  }
}

async function reached(service: Service, isThere: (answers: readonly Sent[]) => boolean): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!service.answers.every(isThere)) {
    if (performance.now() > end) throw new Error('requests do not come to what was waited for');
    await Promise.race([service.sending, pause(1)]);
  }
}

/** As an Envoy does: takes and acknowledges what comes, and asks again when the stream was ended. */
async function hold(client: RawClient, spiffeId: string): Promise<never> {
  for (;;) {
    const stream = client.streamSecrets();
    stream.send({ resourceNames: [spiffeId] });
    try {
      for (;;) stream.ack(await stream.next(), [spiffeId]);
    } catch {
      await pause(RETRY_MS);
    }
  }
}

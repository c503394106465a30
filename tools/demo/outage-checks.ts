import { waitUntil } from '../../test/support/wait-until.ts';
import { ORDERS_SPIFFE_ID } from './gate-checks.ts';
import { callOverTls } from './http.ts';
import { rotated, serials } from './identity-checks.ts';
import { countStatuses, startLoad, type Load, type Sample } from './load.ts';
import type { Mesh } from './mesh.ts';
import { fetchOwnIdentity, type ClientIdentity } from './observer.ts';
import type { Check, Outcome } from './table.ts';

/** Decisions to see while svidgate is down. */
const DENIALS_TO_SEE = 50;
const SEEN_WITHIN_MS = 15_000;

/** What one outage left behind for the checks that follow it. */
interface Outage {
  readonly load: Load;
  readonly observer: ClientIdentity;
  readonly serialsBefore: readonly string[];
  readonly wayItEnded: string;
  /** When the process was gone, and when the next one was started and ready; performance.now(). */
  readonly downAt: number;
  startedAt?: number;
  readyAt?: number;
}

/** svidgate is ended by a signal and comes back; requests flow all the while. */
export function outageChecks(mesh: Mesh, signal: 'SIGTERM' | 'SIGKILL'): readonly Check[] {
  let outage: Outage | undefined;
  const during = (): Outage => {
    if (outage === undefined) throw new Error('svidgate was not stopped');
    return outage;
  };
  const how = signal === 'SIGTERM' ? 'stopped' : 'killed';
  const logs = ['svidgate', 'gateway', 'web', 'orders'];
  return [
    {
      name: `svidgate ${how} (${signal})`,
      expected: signal === 'SIGTERM' ? 'exit 0' : 'ended by SIGKILL',
      logs,
      run: async () => {
        outage = await beginOutage(mesh, signal);
        const passed = outage.wayItEnded === (signal === 'SIGTERM' ? 'exit 0' : 'ended by SIGKILL');
        return { passed, seen: outage.wayItEnded };
      },
    },
    {
      name: `  ${how}: existing identities go on working`,
      expected: '200 over mTLS',
      logs,
      run: async () => existingIdentitiesWork(mesh, during().observer),
    },
    {
      name: `  ${how}: every new decision is a deny`,
      expected: '403 only',
      logs,
      run: async () => everyDecisionDenies(during()),
    },
    {
      name: '  svidgate back: decisions',
      expected: '200 by themselves',
      logs,
      run: async () => decisionsComeBack(mesh, during()),
    },
    {
      name: '  svidgate back: identities',
      expected: 'new SVIDs at all three Envoys',
      logs,
      run: async () => {
        await rotated(mesh, during().serialsBefore);
        return { passed: true, seen: `new serials ${secondsSince(during().readyAt)} s after it was ready` };
      },
    },
  ];
}

async function beginOutage(mesh: Mesh, signal: NodeJS.Signals): Promise<Outage> {
  const observer = await fetchOwnIdentity(mesh.workloadSocket);
  const serialsBefore = await serials(mesh);
  const request = { path: '/shop/7', headers: mesh.headers };
  const load = startLoad({ endpoint: mesh.gateway, call: request, workers: 1, pauseMs: 5 });
  await waitUntil('an allowed request', SEEN_WITHIN_MS, () => load.samples.some(({ status }) => status === 200));
  const { code, signal: endedBy } = await mesh.svidgate.stop(signal);
  const wayItEnded = endedBy === null ? `exit ${code}` : `ended by ${endedBy}`;
  return { load, observer, serialsBefore, wayItEnded, downAt: performance.now() };
}

/** The health route asks for no decision, but for the handshake; one request goes over a connection made just now. */
async function existingIdentitiesWork(mesh: Mesh, observer: ClientIdentity): Promise<Outcome> {
  const throughGateway = await mesh.ask('/healthz');
  const client = { ...observer, serverSpiffeId: ORDERS_SPIFFE_ID };
  const newConnection = await callOverTls(mesh.orders, client, { path: '/healthz' });
  return {
    passed: throughGateway.status === 200 && newConnection.status === 200,
    seen: `gateway to web ${throughGateway.status}, new handshake with orders ${newConnection.status}`,
  };
}

async function everyDecisionDenies({ load, downAt }: Outage): Promise<Outcome> {
  const asked = (): readonly Sample[] => load.samples.filter(({ startedAt }) => startedAt > downAt);
  await waitUntil('decisions while it is down', SEEN_WITHIN_MS, () => asked().length >= DENIALS_TO_SEE);
  return { passed: asked().every(({ status }) => status === 403), seen: countStatuses(asked()) };
}

async function decisionsComeBack(mesh: Mesh, outage: Outage): Promise<Outcome> {
  const { load, downAt } = outage;
  outage.startedAt = performance.now();
  await mesh.svidgate.start();
  outage.readyAt = performance.now();
  const allowed = await waitUntil('an allowed request', SEEN_WITHIN_MS, () =>
    load.samples.find(({ status, startedAt }) => status === 200 && startedAt > downAt),
  );
  await waitUntil('more allowed requests', SEEN_WITHIN_MS, () => load.samples.at(-20)?.status === 200);
  await load.stop();
  const firstDeny = load.samples.find(({ status }) => status !== 200)?.startedAt ?? downAt;
  const during = load.samples.filter(({ startedAt }) => startedAt >= firstDeny && startedAt < allowed.startedAt);
  const after = load.samples.filter(({ startedAt }) => startedAt >= allowed.startedAt);
  const denied = ((allowed.endedAt - firstDeny) / 1000).toFixed(2);
  const fromStart = ((allowed.endedAt - outage.startedAt) / 1000).toFixed(2);
  return {
    passed: during.every(({ status }) => status === 403) && after.every(({ status }) => status === 200),
    seen: `200; denied for ${denied} s in all, ${fromStart} s of it from the start of the new process`,
  };
}

function secondsSince(at: number | undefined): string {
  return ((performance.now() - (at ?? performance.now())) / 1000).toFixed(2);
}

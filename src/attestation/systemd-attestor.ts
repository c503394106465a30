import { connectToBus, DbusError, type DbusConnection, type DbusRequest } from './dbus-connection.ts';
import { createLimiter } from './limiter.ts';
import type { WorkloadAttestor } from './workload-attestor.ts';

export interface SystemdAttestorOptions {
  /** Unix socket of the system bus. */
  readonly busSocket: string;
}

const TIMEOUT_MS = 5000;
/** A bus gives one user 256 connections, and others need some. */
const MAX_CONNECTIONS = 8;

const SYSTEMD = 'org.freedesktop.systemd1';

/**
 * `systemd:` selectors: id and fragment path of the unit that the caller runs in, as systemd tells over the system bus.
 * None when the caller is in no unit, as inside of a container.
 */
export function createSystemdAttestor({ busSocket }: SystemdAttestorOptions): WorkloadAttestor {
  const limited = createLimiter(MAX_CONNECTIONS);
  return {
    name: 'systemd',
    timeoutMs: TIMEOUT_MS,
    async attest({ pid }, signal) {
      if (pid === 0) return [];
      return limited(async () => {
        const bus = await connectToBus(busSocket, signal);
        try {
          return await unitValues(bus, pid, signal);
        } finally {
          bus.close();
        }
      }, signal);
    },
  };
}

async function unitValues(bus: DbusConnection, pid: number, signal: AbortSignal): Promise<readonly string[]> {
  const unit = await unitOf(bus, pid, signal);
  if (unit === undefined) return [];
  const [id, fragmentPath] = await Promise.all(
    ['Id', 'FragmentPath'].map((property) => bus.call(propertyOf(unit, property), signal)),
  );
  return [
    ...(id === undefined || id === '' ? [] : [`id:${id}`]),
    // A transient unit has none.
    ...(fragmentPath === undefined || fragmentPath === '' ? [] : [`fragment_path:${fragmentPath}`]),
  ];
}

/** The object path of the unit, or undefined when the process is in none. */
async function unitOf(bus: DbusConnection, pid: number, signal: AbortSignal): Promise<string | undefined> {
  const request: DbusRequest = {
    destination: SYSTEMD,
    path: '/org/freedesktop/systemd1',
    interface: `${SYSTEMD}.Manager`,
    member: 'GetUnitByPID',
    body: [{ type: 'u', value: pid }],
  };
  try {
    return await bus.call(request, signal);
  } catch (error) {
    if (error instanceof DbusError && error.errorName === `${SYSTEMD}.NoUnitForPID`) return undefined;
    throw error;
  }
}

function propertyOf(unit: string, property: string): DbusRequest {
  return {
    destination: SYSTEMD,
    path: unit,
    interface: 'org.freedesktop.DBus.Properties',
    member: 'Get',
    body: [
      { type: 's', value: `${SYSTEMD}.Unit` },
      { type: 's', value: property },
    ],
  };
}

import { X509Certificate } from 'node:crypto';
import { pemCertificates } from '../../src/pki/index.ts';
import type { YamlMap, YamlValue } from '../../test/support/envoy-bootstrap.ts';
import { launchEnvoy, type Envoy } from '../../test/support/envoy.ts';
import { waitUntil } from '../../test/support/wait-until.ts';
import { GATEWAY_SPIFFE_ID, ORDERS_SPIFFE_ID, secondsUntil } from './gate-checks.ts';
import { callOverTls } from './http.ts';
import { countStatuses, startLoad } from './load.ts';
import type { Mesh } from './mesh.ts';
import { fetchOwnIdentity } from './observer.ts';
import type { Entry, Side } from './run-folder.ts';
import type { Check, Outcome, Table } from './table.ts';

const SIDES = ['gateway', 'web', 'orders'] as const satisfies readonly Side[];
const REFUSAL = /StreamSecrets gRPC config stream to svidgate closed[^:]*: ([0-9]+), (.*)/;
const REFUSED_WITHIN_MS = 20_000;
const ROTATED_WITHIN_MS = 40_000;

/** Requests to see after the last rotation before the load ends. */
const REQUESTS_AFTER_ROTATION = 100;

/** Each Envoy holds its own identity and nobody else's. */
export function identityChecks(mesh: Mesh): readonly Check[] {
  return [
    {
      name: 'three Envoys, three identities by SDS',
      expected: 'own SPIFFE ID at each /certs',
      logs: ['svidgate', ...SIDES],
      run: async () => {
        const held = await Promise.all(SIDES.map(async (side) => svidOf(mesh.envoys[side])));
        const passed = held.every(({ uris }, index) => uris.join() === `spiffe://mesh.test/${SIDES[index]}`);
        return { passed, seen: held.map(({ uris }) => uris.join().replace('spiffe://mesh.test/', '')).join(', ') };
      },
    },
  ];
}

/** An Envoy that attestation knows as web asks for the ID of orders. */
export function foreignIdentityCheck(mesh: Mesh): Check {
  return {
    name: "web's Envoy asks for the identity of orders",
    expected: 'gRPC status 3, no certificate',
    logs: ['svidgate', 'thief'],
    run: async () => {
      const bootstrap = renameSecret(await mesh.folder.anotherBootstrap('web'), 'default', ORDERS_SPIFFE_ID);
      return refusedEnvoy(mesh, { name: 'thief', bootstrap, executable: mesh.envoys.web.executable }, ['3']);
    },
  };
}

/** Every Envoy gets a new key and certificate while requests flow. */
export function rotationCheck(mesh: Mesh, table: Table): Check {
  return {
    name: 'SVIDs rotated under continuous load',
    expected: 'by the new CA, 0 failed',
    logs: ['svidgate', ...SIDES, 'web-service'],
    run: async () => {
      const before = await serials(mesh);
      const request = { path: '/shop/7', headers: mesh.headers };
      const load = startLoad({ endpoint: mesh.gateway, call: request, workers: 4, pauseMs: 10 });
      try {
        table.waitingFor('the next rotation, with requests flowing');
        const after = await rotated(mesh, before);
        const rotatedAt = load.samples.length;
        await load.reaches(rotatedAt + REQUESTS_AFTER_ROTATION);
        await load.stop();
        const failed = load.samples.filter(({ status }) => status !== 200);
        const shown = await serialOnTheWire(mesh);
        const seen = `${load.samples.length} requests, ${failed.length} failed${failed.length > 0 ? ` (${countStatuses(failed)})` : ''}`;
        return {
          passed: failed.length === 0 && shown === after[SIDES.indexOf('orders')],
          seen: `${seen}; orders now ${shown.slice(0, 8)}…`,
        };
      } finally {
        await load.stop();
      }
    },
  };
}

/** The entry of gateway goes, and comes back. */
export function entryChecks(mesh: Mesh): readonly Check[] {
  let removed: readonly Entry[] = [];
  return [
    {
      name: "gateway's entry removed: its next requests",
      expected: '403',
      logs: ['svidgate', 'web'],
      run: async () => {
        const seconds = await secondsUntil(mesh, { path: '/shop/7', status: 403 }, async () =>
          mesh.folder.writeEntries((entries) => {
            removed = entries.filter(({ spiffe_id }) => spiffe_id === GATEWAY_SPIFFE_ID);
            return entries.filter(({ spiffe_id }) => spiffe_id !== GATEWAY_SPIFFE_ID);
          }),
        );
        return { passed: removed.length === 1, seen: `403, in force after ${seconds} s` };
      },
    },
    {
      name: "an Envoy started with gateway's executable",
      expected: 'refused, no certificate',
      logs: ['svidgate', 'late-gateway'],
      run: async () => {
        const bootstrap = await mesh.folder.anotherBootstrap('gateway');
        const { executable } = mesh.envoys.gateway;
        return refusedEnvoy(mesh, { name: 'late-gateway', bootstrap, executable }, ['3', '7']);
      },
    },
    {
      name: "gateway's entry put back",
      expected: '200 by itself',
      logs: ['svidgate', 'gateway', 'web'],
      run: async () => {
        const seconds = await secondsUntil(mesh, { path: '/shop/7', status: 200 }, async () =>
          mesh.folder.writeEntries((entries) => [...removed, ...entries]),
        );
        return { passed: true, seen: `200, in force after ${seconds} s` };
      },
    },
  ];
}

/** The serial of the SVID at each Envoy, in the order gateway, web, orders. */
export async function serials(mesh: Mesh): Promise<readonly string[]> {
  return Promise.all(SIDES.map(async (side) => (await svidOf(mesh.envoys[side])).serial));
}

/** Waits until every Envoy holds another SVID than before. */
export async function rotated(mesh: Mesh, before: readonly string[]): Promise<readonly string[]> {
  return waitUntil('new serials at all Envoys', ROTATED_WITHIN_MS, async () => {
    const now = await serials(mesh);
    return now.every((serial, index) => serial !== before[index]) && now;
  });
}

/** The serial that orders shows in a handshake to a client that trusts the newest CA alone. */
async function serialOnTheWire(mesh: Mesh): Promise<string> {
  const observer = await fetchOwnIdentity(mesh.workloadSocket);
  const client = { ...observer, trustBundle: newestOf(observer.trustBundle), serverSpiffeId: ORDERS_SPIFFE_ID };
  return (await callOverTls(mesh.orders, client, { path: '/healthz' })).serverSerial;
}

function newestOf(trustBundle: string): string {
  const roots = pemCertificates(trustBundle).map((der) => new X509Certificate(der));
  const [newest] = roots.sort((one, other) => other.validFromDate.getTime() - one.validFromDate.getTime());
  return newest?.toString() ?? '';
}

async function svidOf(envoy: Envoy): Promise<{ readonly serial: string; readonly uris: readonly string[] }> {
  const held = (await envoy.certs()).filter(({ uris }) => uris.some((uri) => uri.startsWith('spiffe://')));
  const [svid] = held.filter(({ uris }) => !uris.includes('spiffe://mesh.test'));
  if (svid === undefined) throw new Error(`${envoy.name} holds no SVID`);
  return { ...svid, serial: svid.serial.toLowerCase() };
}

/** Starts an Envoy that must be refused, and reads in its own log how svidgate refused it. */
async function refusedEnvoy(
  mesh: Mesh,
  stranger: { readonly name: string; readonly bootstrap: YamlMap; readonly executable: string },
  codes: readonly string[],
): Promise<Outcome> {
  const envoy = await launchEnvoy({ ...stranger, dir: mesh.folder.dir });
  mesh.adopt(envoy);
  try {
    const [, code = '', text = ''] = await waitUntil(
      'a refusal',
      REFUSED_WITHIN_MS,
      () => REFUSAL.exec(envoy.log()) ?? undefined,
    );
    const held = await envoy.certs();
    const isReady = await envoy.admin('/ready').then(
      () => true,
      () => false,
    );
    const holds = held.length === 0 && !isReady ? 'no certificate, not ready' : 'a certificate';
    return {
      passed: codes.includes(code) && held.length === 0 && !isReady,
      seen: `status ${code}, ${holds} (${readable(text)})`,
    };
  } finally {
    await envoy.stop();
  }
}

/** gRPC writes status messages with percent escapes, and Envoy logs them so. */
function readable(message: string): string {
  const text = decodeURIComponent(message.replace(/%(?![0-9A-F]{2})/gi, '%25')).replace(/\{[a-z_]+\}$/, '');
  return text.length <= 70 ? text : `${text.slice(0, 69)}…`;
}

/** The same bootstrap, asking for another secret in the place of one. */
function renameSecret(bootstrap: YamlMap, from: string, to: string): YamlMap {
  const rename = (value: YamlValue): YamlValue => {
    if (Array.isArray(value)) return value.map(rename);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, key === 'name' && item === from ? to : rename(item)]),
    );
  };
  return rename(bootstrap) as YamlMap;
}

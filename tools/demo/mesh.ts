import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startEnvoy, type Envoy } from '../../test/support/envoy.ts';
import { startLoggedChild, type LoggedChild } from '../../test/support/logged-child.ts';
import { waitUntil } from '../../test/support/wait-until.ts';
import { nodePath, pythonPath, root } from '../setup/paths.mjs';
import { call, type Answer, type Endpoint } from './http.ts';
import { ORDERS_SPIFFE_ID } from './gate-checks.ts';
import { CLERK_SPIFFE_ID, observerEntry } from './observer.ts';
import type { Rule, RunFolder, Side } from './run-folder.ts';
import { createSvidgateProcess, type SvidgateProcess } from './svidgate-process.ts';

const SERVICES = join(root, 'envoy-examples/sidecar-mesh/services');

const CLERK_RULE: Rule = {
  from: [CLERK_SPIFFE_ID],
  to: [ORDERS_SPIFFE_ID],
  methods: ['GET'],
  paths: ['/orders/*'],
};

/** What no log may show. */
export interface SentSecrets {
  /** Every request carries it. */
  readonly bearerToken: string;
  /** Every request carries it. */
  readonly cookie: string;
  /** Encrypts the backup. */
  readonly passphrase: string;
}

/** svidgate, three Envoys and two services, running. */
export interface Mesh {
  readonly folder: RunFolder;
  readonly svidgate: SvidgateProcess;
  readonly envoys: Readonly<Record<Side, Envoy>>;
  readonly sent: SentSecrets;
  readonly headers: Readonly<Record<string, string>>;
  readonly gateway: Endpoint;
  readonly web: Endpoint;
  readonly orders: Endpoint;
  readonly workloadSocket: string;
  /** Holds `sent.passphrase`. */
  readonly passphraseFile: string;
  /** A request through the gateway. */
  ask(path: string, method?: string): Promise<Answer>;
  /** Counts an Envoy as part of the mesh, so that it ends with it. */
  adopt(envoy: Envoy): void;
  children(): readonly LoggedChild[];
  stop(): Promise<void>;
}

/** Puts the mesh together; `start` brings it up. `stop` may be called at any time. */
export interface MeshParts extends Omit<Mesh, 'envoys'> {
  start(): Promise<Mesh>;
}

export function createMesh(folder: RunFolder): MeshParts {
  const { dir, address } = folder;
  const endpoint = (port: number): Endpoint => ({ address, port: folder.port(port) });
  const svidgate = createSvidgateProcess(dir, `http://${address}:${folder.port(9988)}`);
  const adopted: LoggedChild[] = [];
  const sent = {
    bearerToken: randomBytes(32).toString('base64url'),
    cookie: randomBytes(24).toString('hex'),
    passphrase: randomBytes(24).toString('hex'),
  };
  const headers = { authorization: `Bearer ${sent.bearerToken}`, cookie: `session=${sent.cookie}` };
  const children = (): readonly LoggedChild[] =>
    svidgate.child === undefined ? adopted : [...adopted, svidgate.child];
  const parts = {
    folder,
    svidgate,
    sent,
    headers,
    gateway: endpoint(8080),
    web: endpoint(8443),
    orders: endpoint(8444),
    workloadSocket: join(dir, 'run/api.sock'),
    passphraseFile: join(dir, 'passphrase'),
    ask: async (path: string, method = 'GET') => call(endpoint(8080), { method, path, headers }),
    adopt: (envoy: Envoy) => void adopted.push(envoy.child),
    children,
    stop: async () => {
      await Promise.all(children().map(async (child) => child.stop()));
    },
  };
  return {
    ...parts,
    async start() {
      await folder.writeEntries((entries) => [...entries, observerEntry()]);
      await folder.writeRules((rules) => [...rules, CLERK_RULE]);
      await writeFile(parts.passphraseFile, sent.passphrase, { mode: 0o600 });
      adopted.push(...startServices(folder));
      await svidgate.start();
      const started = await Promise.all(
        Object.entries(folder.bootstraps).map(async ([name, bootstrap]) => {
          const envoy = await startEnvoy({ name, bootstrap, dir });
          adopted.push(envoy.child);
          return [name, envoy] as const;
        }),
      );
      await waitUntil('the first answer', 15_000, async () => (await parts.ask('/healthz')).status === 200);
      return { ...parts, envoys: Object.fromEntries(started) as Record<Side, Envoy> };
    },
  };
}

function startServices(folder: RunFolder): readonly LoggedChild[] {
  const { dir, address } = folder;
  const at = (port: number): string => `${address}:${folder.port(port)}`;
  const service = (name: string, command: string, args: readonly string[]): LoggedChild =>
    startLoggedChild({ name, command, args, cwd: dir, logFile: join(dir, 'log', `${name}.log`) });
  return [
    service('web-service', nodePath(), [join(SERVICES, 'web.mjs'), at(3001), `http://${at(8081)}`]),
    service('orders-service', pythonPath(), ['-B', join(SERVICES, 'orders.py'), at(3002)]),
  ];
}

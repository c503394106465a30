/** `npm run demo`: the main job on real Envoys, as a table of checks. */
import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { lastLines } from '../../test/support/envoy.ts';
import { killLoggedChildren } from '../../test/support/logged-child.ts';
import { gateChecks, handshakeChecks, policyChecks } from './gate-checks.ts';
import { entryChecks, foreignIdentityCheck, identityChecks, rotationCheck } from './identity-checks.ts';
import { authorityCheck, issuingChecks, keptStateChecks } from './issuing-checks.ts';
import { createMesh, type Mesh, type MeshParts } from './mesh.ts';
import { HELP, parseOptions, type DemoOptions } from './options.ts';
import { outageChecks } from './outage-checks.ts';
import { createRunFolder } from './run-folder.ts';
import { secretCheck, writeSentSecrets } from './secret-check.ts';
import { createTable, tableHead, type Check, type Table } from './table.ts';

const LOG_LINES = 25;
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options.kind === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.kind === 'mistake') {
    process.stderr.write(`demo: ${options.message}\n\n${HELP}`);
    return 2;
  }
  return run(options);
}

async function run(options: DemoOptions): Promise<number> {
  const table = createTable(process.stdout);
  const folder = await createRunFolder();
  const parts = createMesh(folder);
  const remains = { processes: true, files: !options.keepFiles };
  const end = async (): Promise<void> => parts.stop();
  // However this process ends: with its children and its files.
  process.on('exit', () => {
    if (remains.processes) killLoggedChildren();
    if (remains.files) rmSync(folder.dir, { recursive: true, force: true, maxRetries: 3 });
  });
  endOnSignals(end);
  const begin = performance.now();
  try {
    const mesh = await bringUp(parts, table, options);
    if (mesh !== undefined) await runChecks(mesh, table);
    table.line();
    if (mesh !== undefined && options.keep) {
      await keepRunning(mesh, table);
      remains.processes = false;
    }
  } finally {
    if (remains.processes) await end();
  }
  if (options.keepFiles) table.line(`the files of this run are in ${folder.dir}`);
  table.line(`took ${Math.round((performance.now() - begin) / 1000)} s`);
  table.line(`demo: ${table.passed} passed, ${table.failed} failed`);
  return table.failed === 0 ? 0 : 1;
}

async function runChecks(mesh: Mesh, table: Table): Promise<void> {
  for (const check of allChecks(mesh, table)) {
    if (!(await table.check(check))) showLogs(table, mesh, check.logs);
  }
}

async function bringUp(parts: MeshParts, table: Table, options: DemoOptions): Promise<Mesh | undefined> {
  const { folder } = parts;
  table.line(`svidgate, three Envoys and two services on ${folder.address}, files in ${folder.dir}\n`);
  table.line(tableHead());
  if (options.keepFiles) await writeSentSecrets(parts);
  let mesh: Mesh | undefined;
  const isUp = await table.check({
    name: 'svidgate and three Envoys start',
    expected: 'ready',
    logs: [],
    run: async () => {
      const since = performance.now();
      mesh = await parts.start();
      return { passed: true, seen: `ready after ${((performance.now() - since) / 1000).toFixed(1)} s` };
    },
  });
  if (!isUp) showLogs(table, parts, ['svidgate', 'gateway', 'web', 'orders', 'web-service', 'orders-service']);
  return mesh;
}

function allChecks(mesh: Mesh, table: Table): readonly Check[] {
  return [
    ...identityChecks(mesh),
    ...gateChecks(mesh),
    ...handshakeChecks(mesh),
    foreignIdentityCheck(mesh),
    ...policyChecks(mesh),
    ...issuingChecks(mesh),
    authorityCheck(mesh),
    rotationCheck(mesh, table),
    ...outageChecks(mesh, 'SIGTERM'),
    ...outageChecks(mesh, 'SIGKILL'),
    ...entryChecks(mesh),
    ...keptStateChecks(mesh),
    secretCheck(mesh, table),
  ];
}

function showLogs(table: Table, parts: Pick<Mesh, 'children'>, names: readonly string[]): void {
  for (const child of parts.children().filter(({ name }) => names.includes(name))) {
    table.line(`\n  the end of ${child.logFile}:`);
    table.line(lastLines(child.log(), LOG_LINES).replaceAll(/^/gm, '    '));
  }
  table.line();
}

/** Ctrl-C and the like: nothing is left behind. Whoever presses it again a second later does not want to wait. */
function endOnSignals(end: () => Promise<void>): void {
  let since: number | undefined;
  for (const [signal, code] of Object.entries(SIGNAL_EXIT_CODES)) {
    process.on(signal, () => {
      // One Ctrl-C may come twice: from the terminal, and from the script that started us.
      if (since !== undefined && performance.now() - since > 1000) process.exit(code);
      if (since !== undefined) return;
      since = performance.now();
      process.stderr.write(`\ndemo: ${signal}, stopping\n`);
      void end().finally(() => process.exit(code));
    });
  }
}

/** Leaves all processes running after us, with a script that ends them. */
async function keepRunning(mesh: Mesh, table: Table): Promise<void> {
  const { dir, address } = mesh.folder;
  const running = mesh.children().filter((child) => child.isRunning());
  const stop = join(dir, 'stop.sh');
  await writeFile(stop, `kill ${running.map(({ pid }) => pid).join(' ')}\nrm -rf '${dir}'\n`);
  for (const child of running) child.release();
  const { gateway, web, orders } = mesh.envoys;
  table.line(`gateway          http://${address}:${mesh.gateway.port}/shop/7`);
  table.line(`web, orders      ${address}:${mesh.web.port}, ${address}:${mesh.orders.port} (mTLS)`);
  table.line(`Envoy admin      gateway ${gateway.adminUrl}  web ${web.adminUrl}  orders ${orders.adminUrl}`);
  table.line(`svidgate         ${mesh.svidgate.telemetryUrl}/metrics, SDS and Workload API on ${mesh.workloadSocket}`);
  table.line(`to ask it        npx svidgate status --config ${dir}/svidgate.yaml`);
  table.line(`to edit          ${dir}/entries.yaml, ${dir}/policy/data.yaml`);
  table.line(`to stop          sh ${stop}`);
}

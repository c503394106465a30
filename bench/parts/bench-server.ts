import { copyFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { writeFileAtomic } from '../../src/core/index.ts';
import { freeLoopbackAddress, freePorts } from '../../test/support/envoy-address.ts';
import { createSvidgateProcess, type SvidgateProcess } from '../../tools/demo/svidgate-process.ts';
import { root } from '../../tools/setup/paths.mjs';
import { benchFolder } from './bench-folder.ts';

export const TRUST_DOMAIN = 'bench.test';
export const PEER_SPIFFE_ID = `spiffe://${TRUST_DOMAIN}/web`;
export const SERVICE_SPIFFE_ID = `spiffe://${TRUST_DOMAIN}/orders`;

/** The user that runs the benchmark: the selector of all its processes. */
export const OWN_SELECTOR = `unix:uid:${process.getuid?.() ?? -1}`;

export interface Entry {
  readonly spiffe_id: string;
  readonly selectors: readonly string[];
  readonly x509_svid_ttl?: string;
}

/** The server as users run it: a process of its own, with the shipped policy and default settings. */
export interface BenchServer extends AsyncDisposable {
  readonly folder: string;
  /** Not started yet. */
  readonly process: SvidgateProcess;
  /** `unix:PATH` of SDS and of the gate. */
  readonly sds: string;
  readonly gate: string;
  /** `comment` stands on the first line. */
  writeEntries(entries: readonly Entry[], comment?: string): Promise<void>;
}

/** Both identities that a decision is about, for any process of this user. */
export const OWN_ENTRIES: readonly Entry[] = [SERVICE_SPIFFE_ID, PEER_SPIFFE_ID].map((id) => ({
  spiffe_id: id,
  selectors: [OWN_SELECTOR],
}));

/** Rows of the policy's table before the one that allows our requests. */
const OTHER_RULES = 19;

/** A folder with all that the server needs. Its address is a loopback address of its own. */
export async function createBenchServer(options: {
  readonly gate: boolean;
  /** Sections of the configuration beside those that every benchmark has. */
  readonly settings?: Readonly<Record<string, unknown>>;
}): Promise<BenchServer> {
  const folder = await benchFolder();
  const { path } = folder;
  const address = await freeLoopbackAddress();
  const [port] = await freePorts(address, 1);
  const child = createSvidgateProcess(path, `http://${address}:${port}`);
  const writeEntries: BenchServer['writeEntries'] = (entries, comment = 'entries') =>
    writeFileAtomic(join(path, 'entries.yaml'), `# ${comment}\n${stringify({ entries })}`, 0o600);
  await writeEntries(OWN_ENTRIES);
  await writePolicy(join(path, 'policy'));
  await writeFile(
    join(path, 'svidgate.yaml'),
    stringify({
      trust_domain: TRUST_DOMAIN,
      data_dir: './data',
      workload_socket: './run/api.sock',
      admin: { socket: './run/admin.sock' },
      entries: './entries.yaml',
      ...(options.gate
        ? {
            authz: {
              listen: 'unix:./run/authz.sock',
              policies: { default: { path: './policy', entrypoint: 'envoy/authz/allow' } },
            },
          }
        : {}),
      telemetry: { listen: `${address}:${port}` },
      ...options.settings,
    }),
  );
  return {
    folder: path,
    process: child,
    sds: `unix:${join(path, 'run/api.sock')}`,
    gate: `unix:${join(path, 'run/authz.sock')}`,
    writeEntries,
    async [Symbol.asyncDispose]() {
      await child.child?.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The shipped Rego with a table of 20 rows, the last of which is about our requests. */
async function writePolicy(folder: string): Promise<void> {
  const shipped = join(root, 'policies/rego');
  const names = (await readdir(shipped)).filter((name) => name.endsWith('.rego') && !name.endsWith('_test.rego'));
  await Promise.all(names.map((name) => copyFile(join(shipped, name), join(folder, name))));
  const others = Array.from({ length: OTHER_RULES }, (_, row) => ({
    from: [`spiffe://${TRUST_DOMAIN}/client-${row}`],
    to: [`spiffe://${TRUST_DOMAIN}/service-${row}`],
    methods: ['GET', 'POST'],
    paths: [`/items-${row}`, `/items-${row}/**`],
  }));
  const own = { from: [PEER_SPIFFE_ID], to: [SERVICE_SPIFFE_ID], methods: ['GET'], paths: ['/orders', '/orders/*'] };
  await writeFile(join(folder, 'data.yaml'), stringify({ rules: [...others, own] }));
}

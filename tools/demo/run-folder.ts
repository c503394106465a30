import { copyFile, mkdir, mkdtemp, readdir, realpath, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { writeFileAtomic } from '../../src/core/index.ts';
import { freeLoopbackAddress, freePorts } from '../../test/support/envoy-address.ts';
import {
  documentedPorts,
  readYaml,
  relocate,
  relocatedPort,
  type Relocation,
  type YamlMap,
} from '../../test/support/envoy-bootstrap.ts';
import { root } from '../setup/paths.mjs';

const EXAMPLE = join(root, 'envoy-examples/sidecar-mesh');
const SIDES = ['gateway', 'web', 'orders'] as const;
const TELEMETRY_PORT = 9988;

/** Lives are cut short so that a rotation can be watched; connections end well below half of the SVIDs' life. */
const SVID_TTL = '30s';
const MAX_CONNECTION_DURATION = '8s';

/** An authority that was started waits this long for Envoys that may not have come back yet. */
const ACK_TIMEOUT = '5s';

export type Side = (typeof SIDES)[number];

export interface Entry {
  readonly spiffe_id: string;
  readonly selectors: readonly string[];
  readonly x509_svid_ttl?: string;
}

export interface Rule {
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly methods: readonly string[];
  readonly paths: readonly string[];
}

/** A copy of envoy-examples/sidecar-mesh that stands alone: own folder, own loopback address, own ports. */
export interface RunFolder {
  readonly dir: string;
  readonly address: string;
  readonly bootstraps: Readonly<Record<Side, YamlMap>>;
  /** What a port of the example became. */
  port(documented: number): number;
  /** The same example bootstrap once more, on ports of its own. */
  anotherBootstrap(side: Side): Promise<YamlMap>;
  writeEntries(change: (entries: readonly Entry[]) => readonly Entry[]): Promise<void>;
  writeRules(change: (rules: readonly Rule[]) => readonly Rule[]): Promise<void>;
}

/** Makes the folder under the system's temporary folder. The caller removes it. */
export async function createRunFolder(): Promise<RunFolder> {
  const dir = await realpath(await mkdtemp(join(temporaryFolder(), 'svidgate-demo-')));
  await Promise.all(['run', 'log', 'policy'].map((name) => mkdir(join(dir, name), { mode: 0o700 })));
  const originals = Object.fromEntries(SIDES.map((side) => [side, readYaml(join(EXAMPLE, `${side}.yaml`))])) as Record<
    Side,
    YamlMap
  >;
  const address = await freeLoopbackAddress();
  const to = await relocationFor(address, dir, [
    TELEMETRY_PORT,
    ...Object.values(originals).flatMap((original) => documentedPorts(original)),
  ]);
  await writeFile(join(dir, 'svidgate.yaml'), stringify(svidgateConfig(to)));
  await copyPolicy(dir);
  const entriesFile = join(dir, 'entries.yaml');
  const rulesFile = join(dir, 'policy/data.yaml');
  await writeFile(entriesFile, stringify({ entries: exampleEntries(dir) }));
  return {
    dir,
    address,
    bootstraps: Object.fromEntries(SIDES.map((side) => [side, relocate(originals[side], to)])) as Record<Side, YamlMap>,
    port: (documented) => relocatedPort(documented, to),
    async anotherBootstrap(side) {
      const own = await relocationFor(address, dir, documentedPorts(originals[side]));
      return relocate(originals[side], own);
    },
    async writeEntries(change) {
      const { entries } = readYaml(entriesFile) as unknown as { readonly entries: readonly Entry[] };
      await writeFileAtomic(entriesFile, stringify({ entries: change(entries) }), 0o600);
    },
    async writeRules(change) {
      const { rules } = readYaml(rulesFile) as unknown as { readonly rules: readonly Rule[] };
      await writeFileAtomic(rulesFile, stringify({ rules: change(rules) }), 0o600);
    },
  };
}

/** The kernel takes 107 bytes for the path of a Unix socket. */
function temporaryFolder(): string {
  return tmpdir().length <= 70 ? tmpdir() : '/tmp';
}

async function relocationFor(address: string, dir: string, documented: readonly number[]): Promise<Relocation> {
  const distinct = [...new Set(documented)];
  const ports = await freePorts(address, distinct.length);
  return {
    address,
    dir,
    ports: new Map(distinct.map((port, index) => [port, ports[index]!])),
    maxConnectionDuration: MAX_CONNECTION_DURATION,
  };
}

function svidgateConfig(to: Relocation): YamlMap {
  const config = readYaml(join(EXAMPLE, 'svidgate.yaml'));
  const listen = `${to.address}:${relocatedPort(TELEMETRY_PORT, to)}`;
  return {
    ...config,
    authority: { ...(config['authority'] as YamlMap), ack_timeout: ACK_TIMEOUT },
    telemetry: {
      ...(config['telemetry'] as YamlMap),
      listen,
    },
  };
}

function exampleEntries(dir: string): readonly Entry[] {
  const { entries } = readYaml(join(EXAMPLE, 'entries.yaml')) as unknown as { readonly entries: readonly Entry[] };
  return entries.map((entry) => ({
    ...entry,
    selectors: entry.selectors.map((selector) =>
      selector.replace('/opt/mesh', dir).replace(/^unix:uid:.*/, `unix:uid:${process.getuid?.()}`),
    ),
    x509_svid_ttl: SVID_TTL,
  }));
}

/** The shipped Rego with the example's own rules. */
async function copyPolicy(dir: string): Promise<void> {
  const shipped = join(root, 'policies/rego');
  const names = (await readdir(shipped)).filter((name) => name.endsWith('.rego') && !name.endsWith('_test.rego'));
  await Promise.all(names.map((name) => copyFile(join(shipped, name), join(dir, 'policy', name))));
  await copyFile(join(EXAMPLE, 'policy/data.yaml'), join(dir, 'policy/data.yaml'));
}

/**
 * Makes src/proto/generated/ from protos/: static code, since reflection would generate code while the server runs.
 * `node tools/protos/generate.ts` writes; with `--check` it compares instead and exits 1 on a difference.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import pbjs from 'protobufjs-cli/pbjs.js';
import { writeFileAtomic } from '../../src/core/index.ts';
import { declarationsOf } from './declarations.ts';
import { DESCRIPTOR_DECLARATIONS, descriptorsOf } from './descriptors.ts';
import { loadOurProtos } from './load.ts';
import { pruneRoot } from './prune.ts';

/** What the server reads or writes; everything they refer to follows. */
const WANTED_MESSAGES = [
  'JWTBundlesResponse',
  'JWTSVIDRequest',
  'JWTSVIDResponse',
  'ValidateJWTSVIDRequest',
  'ValidateJWTSVIDResponse',
  'X509BundlesResponse',
  'X509SVIDResponse',
  'envoy.extensions.filters.http.rbac.v3.RBAC',
  'envoy.extensions.rbac.principals.mtls_authenticated.v3.Config',
  'envoy.extensions.transport_sockets.tls.v3.Secret',
  'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
  'envoy.data.accesslog.v3.HTTPAccessLogEntry',
  'envoy.service.accesslog.v3.StreamAccessLogsMessage',
  'envoy.service.accesslog.v3.StreamAccessLogsResponse',
  'envoy.service.auth.v3.CheckRequest',
  'envoy.service.auth.v3.CheckResponse',
  'envoy.service.discovery.v3.DeltaDiscoveryRequest',
  'envoy.service.discovery.v3.DeltaDiscoveryResponse',
  'envoy.service.discovery.v3.DiscoveryRequest',
  'envoy.service.discovery.v3.DiscoveryResponse',
  'envoy.service.metrics.v3.StreamMetricsMessage',
  'envoy.service.metrics.v3.StreamMetricsResponse',
  'google.protobuf.Struct',
  'google.rpc.Status',
  'grpc.health.v1.HealthCheckRequest',
  'grpc.health.v1.HealthCheckResponse',
  'grpc.health.v1.HealthListResponse',
  // v1alpha has the same messages under another package.
  'grpc.reflection.v1.ServerReflectionRequest',
  'grpc.reflection.v1.ServerReflectionResponse',
];

/** Packages that are read or written as a whole. */
const WANTED_PACKAGES = ['svidgate.admin.v1'];

/**
 * int64 stays at pbjs's default, number or Long: decoding gives a Long, exact beyond 2^53, since protobufjs brings the
 * `long` package along; encoding takes either. src/proto turns it into a bigint for those who compute with it.
 */
const PBJS_SWITCHES = (
  '--target static-module --wrap esm --root svidgate ' +
  '--no-create --no-verify --no-convert --no-delimited --no-service --no-comments'
).split(' ');

const OUTPUT_FOLDER = fileURLToPath(new URL('../../src/proto/generated/', import.meta.url));

async function staticCodeOf(root: protobuf.Root): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'svidgate-protos-'));
  try {
    const input = join(folder, 'messages.json');
    await writeFile(input, JSON.stringify(root.toJSON()));
    return await new Promise((resolve, reject) => {
      pbjs.main([...PBJS_SWITCHES, input], (error, output) => {
        if (error !== null) reject(error);
        else resolve(output ?? '');
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function messagesOf(root: protobuf.Root, packageName: string): readonly string[] {
  const found = root.lookup(packageName);
  if (!(found instanceof protobuf.Namespace)) throw new Error(`protos/ has no package ${packageName}`);
  return found.nestedArray.filter((child) => child instanceof protobuf.Type).map(({ fullName }) => fullName.slice(1));
}

/** The generated files by name. The same input gives the same bytes. */
async function generate(): Promise<ReadonlyMap<string, string>> {
  const ours = loadOurProtos({ keepCase: false });
  const root = pruneRoot(ours, [...WANTED_MESSAGES, ...WANTED_PACKAGES.flatMap((name) => messagesOf(ours, name))]);
  return new Map([
    ['messages.js', await staticCodeOf(root)],
    ['messages.d.ts', declarationsOf(root)],
    ['descriptors.js', descriptorsOf(loadOurProtos({ keepCase: true }))],
    ['descriptors.d.ts', DESCRIPTOR_DECLARATIONS],
  ]);
}

async function main(isCheck: boolean): Promise<void> {
  const files = await generate();
  if (!isCheck) await mkdir(OUTPUT_FOLDER, { recursive: true });
  for (const [name, text] of files) {
    const path = join(OUTPUT_FOLDER, name);
    if (!isCheck) await writeFileAtomic(path, text, 0o644);
    else if ((await readFile(path, 'utf8').catch(() => undefined)) !== text) {
      console.error(`src/proto/generated/${name} is not what protos/ gives: run \`npm run generate\``);
      process.exitCode = 1;
    }
  }
}

await main(process.argv.includes('--check'));

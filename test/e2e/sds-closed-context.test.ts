/**
 * Validation contexts in real Envoys, old and new: those that nobody passes let nobody in, those for a list of peers only
 * whom it names. Envoy reads them from files here, as they are sent.
 */
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { UNKNOWN_NODE } from '../../src/discovery/index.ts';
import type { ResourceState } from '../../src/discovery/index.ts';
import type { CallerIdentity } from '../../src/identity/index.ts';
import { generateKeyPair, pemCertificates, pemEncode, privateKeyToPkcs8 } from '../../src/pki/index.ts';
import { DiscoveryResponse, encodeMessage, packAny, SECRET_TYPE_URL } from '../../src/proto/index.ts';
import { parseSpiffeId, parseSpiffeIdPattern, type X509Svid } from '../../src/spiffe/index.ts';
import { createLeafCertificate } from '../support/certificates.ts';
import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import type { YamlMap } from '../support/envoy-bootstrap.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startEnvoy, type Envoy } from '../support/envoy.ts';
import {
  followStage,
  identityOf,
  PLAIN_NODE,
  readySecret,
  secretIn,
  textOf,
  trustDomainsIn,
  viewOf,
  type FollowStage,
} from '../support/follow-secrets-stage.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { createTestTrustDomain } from '../support/test-trust-domain.ts';
import { getOnce, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 10_000;
const OWN = 'spiffe://example.test';
const FOREIGN = 'spiffe://partner.test';
const LIST = ['spiffe://example.test/web', 'spiffe://partner.test/**'].map(parseSpiffeIdPattern);

/** A port that checks its peers by the context of this name, and whom it lets in before that is closed. */
const PORTS = [
  { port: 'foreign', name: FOREIGN, node: UNKNOWN_NODE, passes: ['partner'] },
  { port: 'foreign-plain', name: FOREIGN, node: PLAIN_NODE, passes: ['partner'] },
  { port: 'own', name: 'ROOTCA?peers=callers', node: UNKNOWN_NODE, passes: ['web'] },
  { port: 'own-plain', name: 'ROOTCA?peers=callers', node: PLAIN_NODE, passes: ['web'] },
  { port: 'all', name: 'ALL?peers=callers', node: UNKNOWN_NODE, passes: ['web', 'partner'] },
  { port: 'beneath', name: `${FOREIGN}?peers=callers`, node: UNKNOWN_NODE, passes: ['partner'] },
  { port: 'stored', name: 'ca?peers=callers', node: UNKNOWN_NODE, passes: ['web'] },
] as const;

for (const { name: version, path, skip } of envoyVersions()) {
  test(`${version}: a context for a list lets in only its peers, a closed one nobody`, { skip }, async () => {
    await using folder = await tempFolder();
    const scene = await createScene();
    await Promise.all(PORTS.map((port) => put(folder.path, port.port, scene.look(port, 'open'))));
    await using envoy = await startPorts(folder.path, scene.server, path);
    const passing = async (port: string): Promise<readonly string[]> => {
      const tried = await Promise.all(
        scene.peers.map(async ({ who, identity }) => ({ who, status: await getOnce(envoy.at(port), identity) })),
      );
      return tried.filter(({ status }) => status === 200).map(({ who }) => who);
    };
    for (const { port, passes } of PORTS) assert.deepEqual(await passing(port), passes, port);

    const closed = PORTS.map((port) => ({ ...port, state: scene.look(port, 'closed') }));
    const forger = await scene.forge(closed.map(({ state }) => state));
    await Promise.all(closed.map(({ port, state }) => put(folder.path, port, state)));
    for (const { port } of PORTS) {
      await waitUntil(`${port} to be closed`, LIMIT_MS, async () => (await passing(port)).length === 0);
      assert.equal(await getOnce(envoy.at(port), forger), 0, port);
    }
    assert.deepEqual(await envoy.updates(), { succeeded: 2 * PORTS.length, rejected: 0 });

    await Promise.all(PORTS.map((port) => put(folder.path, port.port, scene.look(port, 'open'))));
    for (const { port, passes } of PORTS) {
      await waitUntil(`${port} to open`, LIMIT_MS, async () => (await passing(port)).join() === passes.join());
    }
  });
}

interface Scene {
  readonly server: PeerIdentity;
  readonly peers: readonly { readonly who: string; readonly identity: PeerIdentity }[];
  look(port: (typeof PORTS)[number], as: 'open' | 'closed'): ResourceState;
  /** An SVID in the name of the root of these contexts, by a key of one's own. */
  forge(states: readonly ResourceState[]): Promise<PeerIdentity>;
}

async function createScene(): Promise<Scene> {
  const [example, partner] = await Promise.all(
    ['example.test', 'partner.test'].map((name) => createTestTrustDomain(name)),
  );
  assert.ok(example !== undefined && partner !== undefined);
  const issue = (domain: typeof example, id: string): Promise<X509Svid> =>
    domain.issueX509Svid({ spiffeId: parseSpiffeId(id), entryId: id });
  const svid = await issue(example, `${OWN}/orders`);
  const bundle = example.bundle.value;
  const registered = identityOf(bundle, [{ svid, entryId: 'orders' }]);
  const federated: CallerIdentity = { ...registered, foreignBundles: [partner.bundle.value] };
  const [open, closed] = await Promise.all([followStage(), followStage()]);
  open.peers.set(new Map([['callers', { kind: 'known', peers: LIST }]]));
  closed.peers.set(new Map([['callers', { kind: 'known', peers: [] }]]));
  const ca = bundle.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join('');
  for (const { store } of [open, closed]) store.set('ca', [`${OWN}/orders`], { kind: 'validation_context', ca });
  const lookIn = (
    stage: FollowStage,
    identity: CallerIdentity,
    { name, node }: (typeof PORTS)[number],
  ): ResourceState => viewOf(stage, identity, { names: [name], node }).lookup(name, true);
  return {
    server: pemOf(svid),
    peers: [
      { who: 'web', identity: pemOf(await issue(example, `${OWN}/web`)) },
      { who: 'other', identity: pemOf(await issue(example, `${OWN}/other`)) },
      { who: 'partner', identity: pemOf(await issue(partner, `${FOREIGN}/peer`)) },
    ],
    look: (port, as) => {
      if (as === 'open') return lookIn(open, federated, port);
      // Of a foreign domain the right is gone; of the others the list is empty.
      return lookIn(closed, port.name.startsWith(FOREIGN) ? registered : federated, port);
    },
    async forge(states) {
      const [root = ''] = states.flatMap((state) => {
        const { trustedCa } = secretIn(state).validationContext ?? {};
        return Object.values(trustDomainsIn(state) ?? { plain: textOf(trustedCa) });
      });
      const [certificate = new Uint8Array()] = pemCertificates(root);
      const [caKey, keyPair] = [generateKeyPair(), generateKeyPair()];
      const leaf = await createLeafCertificate({
        uri: `${OWN}/web`,
        publicKey: keyPair.publicKey,
        ca: { certificate, keyPair: caKey },
        notBefore: Date.now() - 60_000,
        notAfter: Date.now() + 3600_000,
      });
      return pemOf({ certificateChain: [leaf.certificate], privateKey: privateKeyToPkcs8(keyPair.privateKey), serial: leaf.serial }); // prettier-ignore
    },
  };
}

function pemOf({
  certificateChain,
  privateKey,
  serial,
}: Pick<X509Svid, 'certificateChain' | 'privateKey' | 'serial'>): PeerIdentity {
  const cert = certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join('');
  return { cert, key: pemEncode('PRIVATE KEY', privateKey), serial };
}

/** Envoy looks again when a file is moved to its place. */
async function put(folder: string, port: string, state: ResourceState): Promise<void> {
  const { bytes, version } = readySecret(state);
  const response = { versionInfo: version, resources: [packAny(SECRET_TYPE_URL, bytes)], typeUrl: SECRET_TYPE_URL };
  const path = join(folder, `${port}.pb`);
  await writeFile(`${path}.new`, encodeMessage(DiscoveryResponse, response));
  await rename(`${path}.new`, path);
}

interface Ports extends AsyncDisposable {
  at(port: string): { readonly address: string; readonly port: number };
  updates(): Promise<{ readonly succeeded: number; readonly rejected: number }>;
}

async function startPorts(folder: string, server: PeerIdentity, executable: string | undefined): Promise<Ports> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, ...ports] = await freePorts(address, 1 + PORTS.length);
  const listeners = PORTS.map(({ port, name }, index) =>
    listener(port, { address, port_value: ports[index] ?? 0 }, tlsContext(server, name, join(folder, `${port}.pb`))),
  );
  const envoy: Envoy = await startEnvoy({
    name: 'contexts',
    dir: folder,
    ...(executable === undefined ? {} : { executable }),
    bootstrap: {
      node: { id: 'contexts', cluster: 'contexts' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: { listeners },
    },
  });
  return {
    at: (port) => ({ address, port: ports[PORTS.findIndex((one) => one.port === port)] ?? 0 }),
    async updates() {
      const { stats } = JSON.parse(await envoy.admin('/stats?format=json&filter=^sds')) as {
        readonly stats: readonly { readonly name?: string; readonly value?: number }[];
      };
      const sum = (end: string): number =>
        stats.reduce((total, { name = '', value = 0 }) => (name.endsWith(end) ? total + value : total), 0);
      return { succeeded: sum('.update_success'), rejected: sum('.update_rejected') + sum('.update_failure') };
    },
    [Symbol.asyncDispose]: () => envoy.stop(),
  };
}

const TYPE = 'type.googleapis.com/envoy.extensions';

function tlsContext({ cert, key }: PeerIdentity, name: string, path: string): YamlMap {
  const certificate = { certificate_chain: { inline_string: cert }, private_key: { inline_string: key } };
  return {
    '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: {
      tls_certificates: [certificate],
      validation_context_sds_secret_config: {
        name,
        sds_config: { resource_api_version: 'V3', path_config_source: { path } },
      },
    },
  };
}

function listener(name: string, address: YamlMap, tls: YamlMap): YamlMap {
  const manager = {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] },
      ],
    },
    http_filters: [
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
  return {
    name,
    address: { socket_address: address },
    filter_chains: [
      {
        transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: tls },
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
      },
    ],
  };
}

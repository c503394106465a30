/** Bundles from a registry: which part of what is there, its digests, and who is shown the credentials. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { systemClock } from '../../../../src/core/index.ts';
import type { BundleAnswer, BundleFetcher } from '../../../../src/policy/download/bundle-fetcher.ts';
import { ociFetcher } from '../../../../src/policy/download/oci-fetcher.ts';
import { parseChallenge } from '../../../../src/policy/download/registry-client.ts';
import type { SourceAccess } from '../../../../src/policy/download/source-http.ts';
import {
  BUNDLE_LAYER,
  OCI_INDEX,
  OCI_MANIFEST,
  startOciRegistry,
  type OciRegistry,
  type OciRegistryOptions,
} from '../../../support/oci-registry.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const folder = await tempFolder();
after(() => folder[Symbol.asyncDispose]());
const REPOSITORY = 'acme/policies';
const BUNDLE = gzipSync('a bundle');
const OTHER = gzipSync('another one');

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

async function start(options: Partial<OciRegistryOptions> = {}): Promise<OciRegistry> {
  const registry = await startOciRegistry({ repository: REPOSITORY, ...options });
  open.push(registry);
  return registry;
}

function fetcherOf({ origin }: OciRegistry, reference: string, access: Partial<SourceAccess> = {}): BundleFetcher {
  return ociFetcher(
    { origin, repository: REPOSITORY, reference },
    { tls: {}, alsoAsk: [], maxBytes: 100_000, timeoutMs: 5000, clock: systemClock, ...access },
  );
}

const ask = (fetcher: BundleFetcher, etag?: string): Promise<BundleAnswer> =>
  fetcher.fetch({
    ...(etag === undefined ? {} : { etag }),
    takesDelta: false,
    waitMs: 0,
    signal: new AbortController().signal,
  });

const rejects = (asking: Promise<BundleAnswer>, message: RegExp): Promise<void> =>
  assert.rejects(asking, { code: 'policy_source_failed', message });

describe('what is taken', () => {
  test('the layer under a tag, and again only when the tag has another one', async () => {
    const registry = await start();
    const { digest } = registry.pushBundle(BUNDLE, 'v1');
    const fetcher = fetcherOf(registry, 'v1');
    assert.equal(fetcher.description, `oci://127.0.0.1:${registry.port}/${REPOSITORY}:v1`);
    assert.deepEqual(await ask(fetcher), { kind: 'bundle', bytes: BUNDLE, etag: digest, canWait: false });
    assert.deepEqual(await ask(fetcher, digest), { kind: 'unchanged' });
    assert.equal(registry.requests.filter(({ path }) => path.includes('/blobs/')).length, 1);
    const next = registry.pushBundle(OTHER, 'v1');
    assert.deepEqual(await ask(fetcher, digest), { kind: 'bundle', bytes: OTHER, etag: next.digest, canWait: false });
  });

  test('what a digest names, whatever the tags say', async () => {
    const registry = await start();
    registry.pushBundle(BUNDLE, 'v1');
    const digest = registry.tags.get('v1') ?? '';
    registry.pushBundle(OTHER, 'v1');
    const answer = await ask(fetcherOf(registry, digest));
    assert.ok(answer.kind === 'bundle' && BUNDLE.equals(answer.bytes));
  });

  test('the first layer of that type, in the first image of a list that has one', async () => {
    const registry = await start();
    const text = registry.blob(Buffer.from('read me'), 'text/plain');
    const layer = registry.blob(BUNDLE, BUNDLE_LAYER);
    const second = registry.blob(OTHER, BUNDLE_LAYER);
    const image = registry.document({ schemaVersion: 2, layers: [text, layer, second] }, OCI_MANIFEST);
    const empty = registry.document({ schemaVersion: 2, layers: [text] }, OCI_MANIFEST);
    const unknown = { os: 'unknown', architecture: 'unknown' };
    const proof = registry.document({ schemaVersion: 2, layers: [second] }, OCI_MANIFEST);
    const inner = registry.document({ schemaVersion: 2, manifests: [empty, image] }, OCI_INDEX);
    registry.document({ schemaVersion: 2, manifests: [{ ...proof, platform: unknown }, inner] }, OCI_INDEX, 'list');
    const answer = await ask(fetcherOf(registry, 'list'));
    assert.ok(answer.kind === 'bundle' && BUNDLE.equals(answer.bytes));
  });
});

describe('what is refused', () => {
  const layerOf = (registry: OciRegistry): string => registry.pushBundle(BUNDLE, 'v1').digest;
  const manifestOf = (registry: OciRegistry, value: object): void => void registry.document(value, OCI_MANIFEST, 'v1');
  const cases: readonly {
    readonly name: string;
    readonly put: (registry: OciRegistry) => void;
    readonly reason: RegExp;
  }[] = [
    { name: 'a tag that is not there', put: () => undefined, reason: /status 404 for the manifest/ },
    {
      name: 'a blob that is another one',
      put: (registry) => void registry.content.set(layerOf(registry), { bytes: OTHER, type: BUNDLE_LAYER }),
      reason: /another bundle than the manifest names/,
    },
    {
      name: 'a blob of the right size that is another one',
      put: (registry) =>
        void registry.content.set(layerOf(registry), { bytes: Buffer.alloc(BUNDLE.length), type: BUNDLE_LAYER }),
      reason: /another bundle than the manifest names/,
    },
    {
      name: 'a blob that is not there',
      put: (registry) => void registry.content.delete(layerOf(registry)),
      reason: /status 404 for the bundle/,
    },
    {
      name: 'a layer that is announced as too large',
      put: (registry) => manifestOf(registry, { layers: [{ ...registry.blob(BUNDLE, BUNDLE_LAYER), size: 200_000 }] }),
      reason: /more than 100000 bytes/,
    },
    {
      name: 'a manifest whose digest header names another one',
      put: (registry) => {
        layerOf(registry);
        registry.fault = ({ url = '' }, response) => {
          if (!url.includes('manifests')) return false;
          response.writeHead(200, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }).end('{"layers":[]}');
          return true;
        };
      },
      reason: /another manifest than its digest names/,
    },
    {
      name: 'no layer of that type',
      put: (registry) => manifestOf(registry, { layers: [registry.blob(BUNDLE, 'application/gzip')] }),
      reason: /no layer of type/,
    },
    {
      name: 'layers and manifests at once',
      put: (registry) => manifestOf(registry, { layers: [], manifests: [] }),
      reason: /neither layers nor manifests/,
    },
    { name: 'no object', put: (registry) => manifestOf(registry, []), reason: /neither layers nor manifests/ },
    {
      name: 'a digest of md5',
      put: (registry) =>
        manifestOf(registry, { layers: [{ mediaType: BUNDLE_LAYER, digest: `md5:${'0'.repeat(32)}`, size: 1 }] }),
      reason: /digest of sha256 or sha512/,
    },
    {
      name: 'a digest with a path',
      put: (registry) =>
        manifestOf(registry, { layers: [{ mediaType: BUNDLE_LAYER, digest: 'sha256:../../token', size: 1 }] }),
      reason: /digest of sha256 or sha512/,
    },
    {
      name: 'a size that is none',
      put: (registry) => manifestOf(registry, { layers: [{ ...registry.blob(BUNDLE, BUNDLE_LAYER), size: -1 }] }),
      reason: /without a size/,
    },
    {
      name: 'what is no JSON',
      put: (registry) => {
        registry.tags.set('v1', registry.blob(Buffer.from('<html>'), 'text/html').digest);
      },
      reason: /not JSON/,
    },
    {
      name: 'a manifest of 5 MB',
      put: (registry) => manifestOf(registry, { layers: [], padding: 'x'.repeat(5_000_000) }),
      reason: /more than 4194304 bytes/,
    },
    {
      name: 'lists in lists without end',
      put: (registry) => {
        let inner = registry.document({ layers: [registry.blob(BUNDLE, BUNDLE_LAYER)] }, OCI_MANIFEST);
        for (let depth = 0; depth < 5; depth += 1) inner = registry.document({ manifests: [inner] }, OCI_INDEX, 'v1');
      },
      reason: /nested more than 4 deep/,
    },
    {
      name: 'a list of very many',
      put: (registry) => {
        const images = Array.from({ length: 40 }, (_, at) => registry.document({ layers: [], at }, OCI_MANIFEST));
        registry.document({ manifests: images }, OCI_INDEX, 'v1');
      },
      reason: /more than 32 manifests/,
    },
  ];
  for (const { name, put, reason } of cases) {
    test(name, async () => {
      const registry = await start();
      put(registry);
      await rejects(ask(fetcherOf(registry, 'v1')), reason);
    });
  }

  test('a digest that the registry answers with something else', async () => {
    const registry = await start();
    registry.pushBundle(BUNDLE, 'v1');
    const digest = registry.tags.get('v1') ?? '';
    registry.pushBundle(OTHER, 'v1');
    const other = registry.content.get(registry.tags.get('v1') ?? '');
    assert.ok(other !== undefined);
    registry.content.set(digest, other);
    await rejects(ask(fetcherOf(registry, digest)), /another manifest than its digest names/);
  });

  test('a registry that hangs at its second answer costs the time of one question', async () => {
    const registry = await start();
    registry.pushBundle(BUNDLE, 'v1');
    registry.fault = ({ url = '' }) => url.includes('/blobs/');
    await rejects(ask(fetcherOf(registry, 'v1', { timeoutMs: 200 })), /did not answer in full within 200 ms/);
  });
});

test('a digest of sha512 is checked, too', async () => {
  const registry = await start();
  const digest = `sha512:${hash('sha512', BUNDLE)}`;
  const layer = { mediaType: BUNDLE_LAYER, digest, size: BUNDLE.length };
  registry.document({ layers: [layer] }, OCI_MANIFEST, 'v1');
  registry.content.set(digest, { bytes: BUNDLE, type: BUNDLE_LAYER });
  assert.equal((await ask(fetcherOf(registry, 'v1'))).kind, 'bundle');
  registry.content.set(digest, { bytes: Buffer.alloc(BUNDLE.length), type: BUNDLE_LAYER });
  await rejects(ask(fetcherOf(registry, 'v1')), /another bundle/);
});

describe('credentials', () => {
  const CREDENTIALS = 'gate:pass:word';
  const withToken = async (text: string): Promise<string> => {
    const file = join(folder.path, 'token');
    await writeFile(file, `${text}\n`);
    return file;
  };

  test('go to the token service, whose token is kept until it is refused', async () => {
    const registry = await start({ credentials: CREDENTIALS });
    registry.pushBundle(BUNDLE, 'v1');
    const fetcher = fetcherOf(registry, 'v1', { tokenFile: await withToken(CREDENTIALS) });
    assert.equal((await ask(fetcher)).kind, 'bundle');
    assert.equal((await ask(fetcher)).kind, 'bundle');
    const basic = `Basic ${Buffer.from(CREDENTIALS).toString('base64')}`;
    const seen = registry.requests.map(({ path, authorization }) => [path.split(/[/?]/).at(-2), authorization]);
    assert.deepEqual(seen, [
      ['manifests', undefined],
      ['token', basic],
      ['manifests', 'Bearer token-1'],
      ['blobs', 'Bearer token-1'],
      ['manifests', 'Bearer token-1'],
      ['blobs', 'Bearer token-1'],
    ]);
  });

  test('are shown to the registry itself where it asks for that', async () => {
    const registry = await start({ credentials: CREDENTIALS, scheme: 'basic' });
    registry.pushBundle(BUNDLE, 'v1');
    assert.equal((await ask(fetcherOf(registry, 'v1', { tokenFile: await withToken(CREDENTIALS) }))).kind, 'bundle');
    assert.equal(registry.requests.filter(({ path }) => path.startsWith('/token')).length, 0);
  });

  test('that are a token are shown to the registry alone', async () => {
    const registry = await start({ credentials: CREDENTIALS });
    registry.pushBundle(BUNDLE, 'v1');
    await rejects(ask(fetcherOf(registry, 'v1', { tokenFile: await withToken('a-token') })), /status 401/);
    assert.deepEqual(
      registry.requests.map(({ authorization }) => authorization),
      ['Bearer a-token'],
    );
  });

  test('are not shown to a token service elsewhere, unless it is allowed', async () => {
    const service = await start({ credentials: CREDENTIALS });
    const registry = await start({ credentials: CREDENTIALS, realm: `${service.origin}/token` });
    registry.pushBundle(BUNDLE, 'v1');
    const tokenFile = await withToken(CREDENTIALS);
    await rejects(
      ask(fetcherOf(registry, 'v1', { tokenFile })),
      /has its tokens at http:\/\/127\.0\.0\.1:\d+, which is not allowed/,
    );
    assert.equal(service.requests.length, 0);
    await rejects(ask(fetcherOf(registry, 'v1', { tokenFile, alsoAsk: [service.origin] })), /status 401/);
    assert.equal(service.requests.length, 1);
  });

  test('are not shown where a blob is kept elsewhere', async () => {
    const storage = await start();
    const registry = await start({ credentials: CREDENTIALS });
    const { digest } = registry.pushBundle(BUNDLE, 'v1');
    storage.pushBundle(BUNDLE, 'v1');
    registry.fault = ({ url = '' }, response) => {
      if (!url.includes('/blobs/')) return false;
      response.writeHead(307, { location: `${storage.origin}/v2/${REPOSITORY}/blobs/${digest}` }).end();
      return true;
    };
    const tokenFile = await withToken(CREDENTIALS);
    await rejects(ask(fetcherOf(registry, 'v1', { tokenFile })), /redirects to .* not allowed/);
    assert.equal((await ask(fetcherOf(registry, 'v1', { tokenFile, alsoAsk: [storage.origin] }))).kind, 'bundle');
    assert.deepEqual(
      storage.requests.map(({ authorization }) => authorization),
      [undefined],
    );
  });

  test('a token service without sense is told', async () => {
    const registry = await start({ credentials: CREDENTIALS });
    registry.pushBundle(BUNDLE, 'v1');
    const tokenFile = await withToken(CREDENTIALS);
    for (const [body, reason] of [
      ['<html>', /not answer with JSON/],
      ['{}', /gives no token/],
      ['{"token":"a\\nb"}', /gives no token/],
      ['null', /gives no token/],
    ] as const) {
      registry.fault = ({ url = '' }, response) => {
        if (!url.startsWith('/token')) return false;
        response.writeHead(200).end(body);
        return true;
      };
      await rejects(ask(fetcherOf(registry, 'v1', { tokenFile })), reason);
    }
  });
});

test('challenges are read as RFC 9110 writes them', () => {
  const read = (header: string): unknown => {
    const challenge = parseChallenge(header);
    return challenge === undefined ? undefined : [challenge.scheme, Object.fromEntries(challenge.parameters)];
  };
  assert.deepEqual(read('Bearer realm="https://a/t",service="a, b",scope="x:y:z"'), [
    'bearer',
    { realm: 'https://a/t', service: 'a, b', scope: 'x:y:z' },
  ]);
  assert.deepEqual(read('bearer Realm=https://a/t , service="\\"q\\""'), [
    'bearer',
    { realm: 'https://a/t', service: '"q"' },
  ]);
  assert.deepEqual(read('Basic'), ['basic', {}]);
  assert.deepEqual(read('Negotiate, Basic realm="r"'), ['basic', { realm: 'r' }]);
  assert.equal(read('Digest realm="r"'), undefined);
  assert.equal(read(''), undefined);
  assert.deepEqual(read('Bearer realm="unclosed'), ['bearer', {}]);
});

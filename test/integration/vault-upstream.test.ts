import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { UpstreamAuthority } from '../../src/authority/index.ts';
import { createVaultPkiUpstream } from '../../src/authority/upstreams/vault-pki-upstream.ts';
import { createVaultClient } from '../../src/authority/vault-client.ts';
import { noMetrics, silentLogger, systemClock, type LogFields, type Logger } from '../../src/core/index.ts';
import { pemCertificates } from '../../src/pki/index.ts';
import { startOpenBao, type OpenBao } from '../support/open-bao.ts';
import { assertChainHolds, mint, upstreamAuthorityContract } from '../support/upstream-authority-contract.ts';
import { waitUntil } from '../support/wait-until.ts';

const DAY = 24 * 3600_000;

describe("Vault's PKI", () => {
  let bao: OpenBao;
  let mounts = 0;
  before(async () => (bao = await startOpenBao()));
  after(async () => await bao[Symbol.asyncDispose]());

  const mountPki = async (): Promise<string> => {
    const mount = `team/pki-${(mounts += 1)}`;
    await bao.call('POST', `sys/mounts/${mount}`, { type: 'pki', config: { max_lease_ttl: '87600h' } });
    return mount;
  };
  const newRoot = async (mount: string, type = 'ec'): Promise<string> => {
    const body = { common_name: 'root', ttl: '2400h', key_type: type };
    return String((await bao.call('POST', `${mount}/root/generate/internal`, body))['issuer_id']);
  };
  const useIssuer = async (mount: string, id: string): Promise<unknown> =>
    await bao.call('POST', `${mount}/config/issuers`, { default: id });

  const open = (mount: string, logger: Logger = silentLogger): UpstreamAuthority => {
    process.env['SVIDGATE_TEST_VAULT_TOKEN'] = bao.rootToken;
    const auth = { kind: 'token_env', variable: 'SVIDGATE_TEST_VAULT_TOKEN' } as const;
    const client = createVaultClient({ address: bao.address, auth, logger: silentLogger, clock: systemClock });
    return createVaultPkiUpstream({ client, mount, clock: systemClock, logger, metrics: noMetrics, refreshMs: 200 });
  };

  for (const type of ['ec', 'rsa']) {
    upstreamAuthorityContract(`a root of type ${type} in Vault`, async () => {
      const mount = await mountPki();
      await newRoot(mount, type);
      return {
        upstream: open(mount),
        notAfter: Date.now() + 100 * DAY + 60_000,
        breakBackEnd: async () => await bao.stop(),
        mendBackEnd: async () => await bao.start(),
        replaceRoot: async () => void (await useIssuer(mount, await newRoot(mount))),
        [Symbol.asyncDispose]: async () => undefined,
      };
    });
  }

  const newIntermediate = async (root: string, mount: string): Promise<unknown> => {
    const { csr } = await bao.call('POST', `${mount}/intermediate/generate/internal`, { common_name: 'lower' });
    const signed = await bao.call('POST', `${root}/root/sign-intermediate`, { csr, common_name: 'lower', ttl: '240h' });
    const chain = (signed['ca_chain'] as readonly string[]).join('\n');
    const { imported_issuers: issuers } = await bao.call('POST', `${mount}/intermediate/set-signed`, {
      certificate: chain,
    });
    const ids = issuers as readonly string[];
    for (const id of ids) {
      const { key_id: key } = await bao.call('GET', `${mount}/issuer/${id}`);
      if (key !== '') return await useIssuer(mount, id);
    }
    throw new Error('no issuer has a key');
  };

  upstreamAuthorityContract('an intermediate in Vault', async () => {
    const [root, mount] = [await mountPki(), await mountPki()];
    await newRoot(root);
    await newIntermediate(root, mount);
    return {
      upstream: open(mount),
      notAfter: Date.now() + 10 * DAY + 60_000,
      breakBackEnd: async () => await bao.stop(),
      mendBackEnd: async () => await bao.start(),
      async replaceRoot() {
        await useIssuer(root, await newRoot(root));
        await newIntermediate(root, mount);
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  });

  it('says what a mount lacks: itself, a CA, a root', async () => {
    const [empty, root, mount] = [await mountPki(), await mountPki(), await mountPki()];
    await newRoot(root);
    const { csr } = await bao.call('POST', `${mount}/intermediate/generate/internal`, { common_name: 'lower' });
    const signed = await bao.call('POST', `${root}/root/sign-intermediate`, { csr, common_name: 'lower', ttl: '240h' });
    await bao.call('POST', `${mount}/intermediate/set-signed`, { certificate: signed['certificate'] });
    const cases = [
      { mount: 'nowhere', says: /refuses GET nowhere\/cert\/ca_chain with 404$/ },
      { mount: empty, says: /refuses GET team\/pki-\d+\/cert\/ca_chain with 400$/ },
      { mount, says: /^Vault's team\/pki-\d+: no path of at most 8 certificates leads to a root/ },
    ];
    for (const { mount: tried, says } of cases) {
      await assert.rejects(mint(open(tried)), { code: 'upstream_failed', message: says });
    }
  });

  it('needs no more rights than the documented policy has', async () => {
    const mount = await mountPki();
    await newRoot(mount);
    const policy = `path "${mount}/root/sign-intermediate" { capabilities = ["update"] }`;
    await bao.call('POST', 'sys/policies/acl/pki-only', { policy });
    const { client_token: token } = await bao.call('POST', 'auth/token/create', { policies: ['pki-only'] });
    process.env['SVIDGATE_TEST_SMALL_TOKEN'] = String(token);
    const auth = { kind: 'token_env', variable: 'SVIDGATE_TEST_SMALL_TOKEN' } as const;
    const client = createVaultClient({ address: bao.address, auth, logger: silentLogger, clock: systemClock });
    const parts = { client, clock: systemClock, logger: silentLogger, metrics: noMetrics };
    try {
      const { minted, signer } = await mint(createVaultPkiUpstream({ ...parts, mount }));
      await assertChainHolds(minted, signer);
      const other = await mountPki();
      await newRoot(other);
      await assert.rejects(mint(createVaultPkiUpstream({ ...parts, mount: other })), {
        code: 'upstream_failed',
        message: /refuses POST team\/pki-\d+\/root\/sign-intermediate with 403: check the token and its policies$/,
      });
    } finally {
      await client.close();
    }
  });

  it('starts while the server is away, warns once, and has its root when it comes', async () => {
    const mount = await mountPki();
    await newRoot(mount);
    const lines: (LogFields & { readonly message: string })[] = [];
    const write = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
    const logger: Logger = { debug: write, info: write, warn: write, error: write, child: () => logger };
    await bao.stop();
    const upstream = open(mount, logger);
    const stop = new AbortController();
    const running = upstream.run(stop.signal);
    try {
      await waitUntil('the warning', 20_000, () => lines.length > 0);
      assert.deepEqual(upstream.roots.value, []);
      await bao.start();
      await waitUntil('the root', 20_000, () => upstream.roots.value.length === 1);
      const { ca_chain: chain } = await bao.call('GET', `${mount}/cert/ca_chain`);
      assert.deepEqual(
        upstream.roots.value.map((der) => Buffer.from(der)),
        pemCertificates(String(chain)),
      );
      const reasons = lines.map(({ reason }) => reason ?? '');
      assert.match(reasons[0] ?? '', /^Vault at http:\/\/127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\)/);
      assert.equal(new Set(reasons).size, reasons.length, 'nothing is told twice');
    } finally {
      stop.abort();
      await running;
    }
  });

  for (const mount of ['', '/', 'pki/', '../sys', 'a/./b']) {
    it(`refuses the mount ${JSON.stringify(mount)}`, () => {
      assert.throws(() => open(mount), { code: 'config_invalid' });
    });
  }
});

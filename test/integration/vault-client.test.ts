import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { createVaultClient, type VaultClient } from '../../src/authority/vault-client.ts';
import type { VaultAuth } from '../../src/authority/vault-login.ts';
import { systemClock, type LogFields, type Logger } from '../../src/core/index.ts';
import { startOpenBao, type OpenBao } from '../support/open-bao.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const run = promisify(execFile);

/** What a token of the policy `reader` may read. */
const PATH = 'kv/config';

describe('the Vault client at a real server', () => {
  let bao: OpenBao;
  let folder: TempFolder;
  let lines: (LogFields & { readonly message: string })[] = [];
  before(async () => {
    folder = await tempFolder();
    bao = await startOpenBao({ tls: true });
    await bao.call('POST', 'sys/policies/acl/reader', { policy: 'path "kv/*" { capabilities = ["read"] }' });
    await bao.call('POST', 'sys/mounts/kv', { type: 'kv' });
    await bao.call('POST', PATH, { answer: '42' });
  });
  after(async () => {
    await bao[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  const file = (name: string): string => join(folder.path, name);
  const secret = async (name: string, text: unknown): Promise<string> => {
    await writeFile(file(name), `${String(text)}\n`, { mode: 0o600 });
    return file(name);
  };
  const open = (auth: VaultAuth, more: { readonly namespace?: string; readonly caFile?: string } = {}): VaultClient => {
    lines = [];
    const write = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
    const logger: Logger = { debug: write, info: write, warn: write, error: write, child: () => logger };
    return createVaultClient({
      address: bao.address,
      caFile: bao.caFile ?? '',
      auth,
      logger,
      clock: systemClock,
      ...more,
    });
  };
  const logins = (): number => lines.filter(({ message }) => message === 'logged in to vault').length;
  const read = async (client: VaultClient, timeoutMs = 10_000): Promise<unknown> =>
    (await client.send({ method: 'GET', path: PATH, failsAs: 'upstream_failed', timeoutMs }))?.['answer'];
  const newToken = async (options: Record<string, unknown> = {}): Promise<Record<string, unknown>> =>
    await bao.call('POST', 'auth/token/create', { policies: ['reader'], ...options });

  const appRole = async (role: string, options: Record<string, unknown> = {}): Promise<VaultAuth> => {
    const mount = `approle-${role}`;
    await bao.call('POST', `sys/auth/${mount}`, { type: 'approle' });
    await bao.call('POST', `auth/${mount}/role/${role}`, { token_policies: ['reader'], token_ttl: '1h', ...options });
    const { role_id: roleId } = await bao.call('GET', `auth/${mount}/role/${role}/role-id`);
    const { secret_id: id } = await bao.call('POST', `auth/${mount}/role/${role}/secret-id`, {});
    return { kind: 'approle', mount, roleId: String(roleId), secretIdFile: await secret(`${role}-secret-id`, id) };
  };

  describe('logs in', () => {
    it('with a token of a variable', async () => {
      process.env['SVIDGATE_TEST_READER'] = String((await newToken())['client_token']);
      const client = open({ kind: 'token_env', variable: 'SVIDGATE_TEST_READER' });
      try {
        assert.equal(await read(client), '42');
      } finally {
        await client.close();
      }
      assert.equal(await read(client).catch(() => 'closed'), 'closed');
      const again = open({ kind: 'token_env', variable: 'SVIDGATE_TEST_READER' });
      assert.equal(await read(again), '42', 'a token that was given is not taken away');
      await again.close();
    });

    it('with a token of a file, and with the next one as soon as the file has it', async () => {
      const first = await newToken();
      const path = await secret('token', first['client_token']);
      const client = open({ kind: 'token_file', file: path });
      try {
        assert.equal(await read(client), '42');
        await bao.call('POST', 'auth/token/revoke-accessor', { accessor: first['accessor'] });
        await assert.rejects(read(client), { code: 'upstream_failed', message: /with 403: check the token/ });
        await secret('token', (await newToken())['client_token']);
        assert.equal(await read(client), '42');
        assert.equal(logins(), 2 + 1, 'at the start, after the refusal, and with the new token');
      } finally {
        await client.close();
      }
    });

    it('by AppRole, and gives its token back at the end', async () => {
      const auth = await appRole('orders');
      const client = open(auth);
      assert.equal(await read(client), '42');
      const before = (await bao.call('LIST', 'auth/token/accessors'))['keys'] as readonly string[];
      await client.close();
      const left = (await bao.call('LIST', 'auth/token/accessors'))['keys'] as readonly string[];
      assert.equal(left.length, before.length - 1);
    });

    it('by a client certificate', async () => {
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'client.key'];
      const use = ['-addext', 'extendedKeyUsage=clientAuth', '-subj', '/CN=svidgate', '-days', '2'];
      await run('openssl', ['req', '-x509', ...key, ...use, '-out', 'client.pem'], { cwd: folder.path });
      const certificate = await readFile(file('client.pem'), 'utf8');
      await bao.call('POST', 'sys/auth/cert', { type: 'cert' });
      await bao.call('POST', 'auth/cert/certs/svidgate', { certificate, token_policies: ['reader'], token_ttl: '1h' });
      const files = { certificateFile: file('client.pem'), keyFile: file('client.key') };
      const client = open({ kind: 'certificate', mount: 'cert', ...files });
      try {
        assert.equal(await read(client), '42');
      } finally {
        await client.close();
      }
    });

    it("by a Kubernetes service account's token", async () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const account = { namespace: 'mesh', serviceaccount: { name: 'svidgate', uid: 'u-1' } };
      const subject = 'system:serviceaccount:mesh:svidgate';
      const now = Math.floor(Date.now() / 1000);
      const times = { iat: now - 10, nbf: now - 10, exp: now + 600 };
      const claims = { sub: subject, ...times, 'kubernetes.io': account };
      const content = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode(claims)}`;
      const signature = sign('sha256', Buffer.from(content), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      await writeFile(file('jwt'), `${content}.${signature.toString('base64url')}\n`, { mode: 0o644 });
      // In place of the cluster's API, which says whose token it is.
      const cluster = createServer((request, response) => {
        request.resume().on('end', () => {
          response.writeHead(201, { 'content-type': 'application/json' });
          const status = { authenticated: true, user: { username: subject, uid: 'u-1', groups: [] } };
          response.end(JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status }));
        });
      });
      await new Promise<void>((resolve) => cluster.listen(0, '127.0.0.1', resolve));
      try {
        await bao.call('POST', 'sys/auth/kubernetes', { type: 'kubernetes' });
        await bao.call('POST', 'auth/kubernetes/config', {
          kubernetes_host: `http://127.0.0.1:${(cluster.address() as AddressInfo).port}`,
          kubernetes_ca_cert: await readFile(bao.caFile ?? '', 'utf8'),
          disable_local_ca_jwt: true,
        });
        await bao.call('POST', 'auth/kubernetes/role/svidgate', {
          bound_service_account_names: ['svidgate'],
          bound_service_account_namespaces: ['mesh'],
          token_policies: ['reader'],
        });
        const client = open({ kind: 'kubernetes', mount: 'kubernetes', role: 'svidgate', jwtFile: file('jwt') });
        try {
          assert.equal(await read(client), '42');
        } finally {
          await client.close();
        }
        const stranger = open({ kind: 'kubernetes', mount: 'kubernetes', role: 'other', jwtFile: file('jwt') });
        await assert.rejects(read(stranger), { message: / refuses the login by kubernetes with 400$/ });
        await stranger.close();
      } finally {
        cluster.closeAllConnections();
        await new Promise((resolve) => cluster.close(resolve));
      }
    });

    it('in a namespace', async () => {
      await bao.call('POST', 'sys/namespaces/team', {});
      await bao.call('POST', 'team/sys/mounts/kv', { type: 'kv' });
      await bao.call('POST', `team/${PATH}`, { answer: '43' });
      process.env['SVIDGATE_TEST_ROOT'] = bao.rootToken;
      const client = open({ kind: 'token_env', variable: 'SVIDGATE_TEST_ROOT' }, { namespace: 'team' });
      try {
        assert.equal(await read(client), '43');
      } finally {
        await client.close();
      }
    });
  });

  it('logs in again well before its token ends, also when nobody asks for anything', async () => {
    const client = open(await appRole('short', { token_ttl: '3s' }));
    try {
      await read(client);
      await waitUntil('two more logins', 20_000, () => logins() >= 3);
      assert.equal(await read(client), '42');
      assert.deepEqual(
        lines.filter(({ message }) => message !== 'logged in to vault'),
        [],
      );
    } finally {
      await client.close();
    }
  });

  it('has a token that was given renewed, and warns once of one that cannot be', async () => {
    process.env['SVIDGATE_TEST_PERIODIC'] = String((await newToken({ period: '3s' }))['client_token']);
    const client = open({ kind: 'token_env', variable: 'SVIDGATE_TEST_PERIODIC' });
    process.env['SVIDGATE_TEST_FIXED'] = String((await newToken({ ttl: '3s', renewable: false }))['client_token']);
    const fixed = open({ kind: 'token_env', variable: 'SVIDGATE_TEST_FIXED' });
    try {
      await Promise.all([read(client), read(fixed)]);
      await waitUntil('the fixed one to end', 20_000, async () => (await read(fixed).catch(() => 'ended')) === 'ended');
      assert.equal(await read(client), '42');
      const [warning, ...more] = lines.filter(({ message }) => message === 'vault login not renewed');
      assert.equal(warning?.reason, 'the token cannot be renewed');
      assert.ok(Date.parse(warning?.expires_at ?? '') > 0);
      assert.deepEqual(more, []);
    } finally {
      await client.close();
      await fixed.close();
    }
  });

  it('logs in again when its token was revoked', async () => {
    const client = open(await appRole('revoked'));
    try {
      assert.equal(await read(client), '42');
      for (const accessor of (await bao.call('LIST', 'auth/token/accessors'))['keys'] as readonly string[]) {
        const { path } = await bao.call('POST', 'auth/token/lookup-accessor', { accessor });
        if (path === 'auth/approle-revoked/login') await bao.call('POST', 'auth/token/revoke-accessor', { accessor });
      }
      assert.equal(await read(client), '42');
      assert.equal(logins(), 2);
    } finally {
      await client.close();
    }
  });

  it('says what is wrong with a login, and shows no secret', async () => {
    const approle = await appRole('refused');
    assert.ok(approle.kind === 'approle');
    const wrong = await secret('wrong-secret-id', '00000000-1111-2222-3333-444444444444');
    const cases: readonly { readonly auth: VaultAuth; readonly says: RegExp }[] = [
      { auth: { ...approle, secretIdFile: wrong }, says: / refuses the login by approle with 400$/ },
      { auth: { ...approle, mount: 'nowhere' }, says: / refuses the login by approle with (?:403|404)$/ },
      { auth: { ...approle, secretIdFile: file('none') }, says: / was not asked: \S+none cannot be read$/ },
      {
        auth: { kind: 'token_env', variable: 'SVIDGATE_TEST_UNSET' },
        says: / was not asked: the environment variable /,
      },
      { auth: { kind: 'token_file', file: await secret('empty', '') }, says: / was not asked: \S+empty is empty$/ },
      {
        auth: { kind: 'token_file', file: await secret('two', 'a b') },
        says: / was not asked: \S+two holds no token: /,
      },
    ];
    for (const { auth, says } of cases) {
      const client = open(auth);
      await assert.rejects(read(client), (error: Error & { readonly code?: string }) => {
        assert.match(error.message, says);
        assert.equal(error.code, 'upstream_failed');
        assert.doesNotMatch(`${error.message}${String(error.cause)}`, /00000000-1111/);
        return true;
      });
      await client.close();
    }
  });

  it('refuses a server whose certificate is not by its CA, and goes on when the right CA is in the file', async () => {
    await run('openssl', [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      '/CN=other',
      '-keyout',
      '/dev/null',
      '-out',
      file('ca.pem'),
    ]);
    process.env['SVIDGATE_TEST_ROOT'] = bao.rootToken;
    const client = open({ kind: 'token_env', variable: 'SVIDGATE_TEST_ROOT' }, { caFile: file('ca.pem') });
    try {
      await assert.rejects(read(client), { message: / cannot be reached \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/ });
      await copyFile(bao.caFile ?? '', file('ca.pem'));
      assert.equal(await read(client), '42');
    } finally {
      await client.close();
    }
  });

  it('fails in bounded time while the server is stopped, frozen or sealed, and goes on afterwards', async () => {
    const client = open(await appRole('partition'));
    try {
      assert.equal(await read(client), '42');
      await bao.stop();
      await assert.rejects(read(client), { code: 'upstream_failed', message: / cannot be reached \(ECONNREFUSED\)$/ });
      await bao.start({ sealed: true });
      await assert.rejects(read(client), { code: 'upstream_failed', message: / is sealed$/ });
      await bao.unseal();
      assert.equal(await read(client), '42');
      bao.freeze();
      const started = performance.now();
      await assert.rejects(read(client, 1000), { code: 'upstream_failed', message: / gave no answer within 1 s$/ });
      assert.ok(performance.now() - started < 5000);
      bao.thaw();
      assert.equal(await read(client), '42');
      assert.equal(logins(), 1, 'the token outlived all of it');
    } finally {
      bao.thaw();
      await client.close();
    }
  });
});

/** Policies from bundle files: a new one takes its place, and one that is refused leaves the old one in force. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { configCheck } from '../../src/cli/commands/config-check.ts';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { createPolicyEngine, createPolicyTools, pathSource, type PolicyEngine } from '../../src/policy/index.ts';
import { retarGz, untarGz } from '../support/tar-file.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const clock = systemClock;
const never = new AbortController().signal;
const ENTRYPOINT = 'envoy/authz/allow';
const WAIT_MS = 60_000;

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const tools = createPolicyTools({ clock });

let folder: TempFolder;
let path: string;
let publicKeyFile: string;

before(async () => {
  folder = await tempFolder();
  path = join(folder.path, 'policy.tar.gz');
  publicKeyFile = join(folder.path, 'release.pem');
  await writeFile(publicKeyFile, pair.publicKey.export({ type: 'spki', format: 'pem' }));
});

after(() => folder[Symbol.asyncDispose]());

/** A signed bundle whose policy allows one user. */
async function bundleFor(user: string, name = 'allow'): Promise<Buffer> {
  const modules = { 'authz.rego': `package envoy.authz\n\n${name} if input.user == data.user\n` };
  const files = { modules, data: { 'data.json': JSON.stringify({ user }) } };
  const signing = { key, algorithm: 'ES256', keyId: 'release' };
  const options = { revision: user, signing, signal: never };
  const packed = await tools.pack({ files, tests: {} }, `envoy/authz/${name}`, options);
  assert.ok(packed.kind === 'packed', JSON.stringify(packed));
  return Buffer.from(packed.bytes);
}

async function put(bundle: Uint8Array): Promise<void> {
  await writeFile(`${path}.new`, bundle);
  await rename(`${path}.new`, path);
}

async function who(engine: PolicyEngine, user: string): Promise<string> {
  const input = new TextEncoder().encode(JSON.stringify({ user }));
  return (await engine.decide('default', input, { deadline: clock.now() + 5000 })).effect;
}

describe('a policy from a signed bundle', () => {
  test('follows its file, and keeps what is in force when the new one is refused', async () => {
    await put(await bundleFor('ann'));
    const keys = [{ name: 'release', id: 'release', algorithm: 'ES256' as const, file: publicKeyFile }];
    const source = pathSource(path, { clock, verify: { keys, scope: '', excludeFiles: [] } });
    const policies = [{ name: 'default', path: source, entrypoint: ENTRYPOINT }];
    const engine = createPolicyEngine({
      policies,
      evalTimeoutMs: 5000,
      clock,
      logger: silentLogger,
      metrics: noMetrics,
    });
    const stop = new AbortController();
    await engine.start(stop.signal);
    const running = engine.run(stop.signal);
    const status = () => engine.status.value.get('default');
    try {
      assert.equal(status()?.state, 'active', JSON.stringify(status()));
      assert.deepEqual([await who(engine, 'ann'), await who(engine, 'bob')], ['allow', 'deny']);
      await put(await bundleFor('bob'));
      await waitUntil('the new bundle', WAIT_MS, async () => (await who(engine, 'bob')) === 'allow');
      assert.equal(await who(engine, 'ann'), 'deny');

      const whole = await bundleFor('eve');
      const tampered = new Map<string, Uint8Array>(untarGz(whole));
      tampered.set('/data.json', Buffer.from('{"user": "mallory"}'));
      const unsigned = new Map(untarGz(whole));
      unsigned.delete('/.signatures.json');
      for (const [bundle, reason] of [
        [retarGz(tampered), /digest mismatch/],
        [retarGz(unsigned), /missing \.signatures\.json/],
        [whole.subarray(0, -100), /cut off/],
        [await bundleFor('eve', 'other'), /names no rule/],
      ] as const) {
        await put(bundle);
        await waitUntil(`refusal: ${String(reason)}`, WAIT_MS, () => {
          const { message = '', problems = [] } = status()?.lastError ?? {};
          return reason.test(`${message} ${problems.map((problem) => problem.message).join(' ')}`);
        });
        const answers = [await who(engine, 'bob'), await who(engine, 'eve'), await who(engine, 'mallory')];
        assert.deepEqual(answers, ['allow', 'deny', 'deny']);
      }
      await put(whole);
      await waitUntil('the good one', WAIT_MS, async () => (await who(engine, 'eve')) === 'allow');
      assert.equal(status()?.lastError, undefined);
    } finally {
      stop.abort();
      await running.catch(() => undefined);
    }
  });
});

test('config check says what is wrong with a bundle, or with a key', { timeout: 120_000 }, async () => {
  const file = join(folder.path, 'svidgate.yaml');
  const check = async (policy: string, keyFile = publicKeyFile): Promise<string> => {
    const keys = `release: { algorithm: ES256, public_key_file: ${keyFile} }`;
    await writeFile(
      file,
      `trust_domain: td.test\nauthz:\n  policy_keys: { ${keys} }\n  policies: { default: { ${policy} } }\n`,
    );
    let output = '';
    const collect = (text: string): void => void (output += text);
    const code = await configCheck({ file, output: 'text', terminal: { out: collect, err: collect } });
    assert.equal(code === 0, output.includes('no mistakes'), output);
    return output;
  };
  const verified = `path: ${path}, verify: { keys: [release] }`;
  await put(await bundleFor('ann'));
  assert.match(await check(verified), /no mistakes/);
  assert.match(await check(`path: ${path}`), /policy `default`: policy_invalid: .*verification key not provided/);
  assert.match(await check(`${verified}, entrypoint: envoy/authz/x`), /entrypoint envoy\/authz\/x names no rule/);
  assert.match(await check(verified, join(folder.path, 'none.pem')), /:4:\d+: .*none\.pem cannot be read: ENOENT/);
  await put((await bundleFor('ann')).subarray(0, 50));
  assert.match(await check(verified), /no gzip file, or damaged or cut off/);
});

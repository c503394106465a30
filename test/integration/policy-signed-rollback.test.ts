/** Where signatures are asked for, only what a key of now signed comes back. */
import assert from 'node:assert/strict';
import { createHmac, hash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { bundleFileSource, createBundleReader, type VerifyRules } from '../../src/policy/bundle/index.ts';
import { createPolicyEngine, type PolicyEngine } from '../../src/policy/index.ts';
import type { PolicyMemory } from '../../src/policy/live-policy.ts';
import { createRegoProgram } from '../../src/policy/rego-program.ts';
import { policyMemory } from '../support/policy-memory.ts';
import { tarGz } from '../support/tar-file.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 30_000;
const SECRET = 's'.repeat(32);
const OTHER_SECRET = 'o'.repeat(32);

const program = createRegoProgram({ clock: systemClock });
let folder: TempFolder;
let path: string;
let memory: PolicyMemory;

beforeEach(async () => {
  folder = await tempFolder();
  path = join(folder.path, 'policy.tar.gz');
  memory = policyMemory();
  await useKey(SECRET);
});
afterEach(() => folder[Symbol.asyncDispose]());

async function useKey(secret: string): Promise<void> {
  await writeFile(join(folder.path, 'key'), secret);
}

/** The bundle allows one number. Signed as OPA signs, where there is a secret. */
async function offer(x: number, secret?: string): Promise<void> {
  const content = `package test\n\nallow if input.x == ${x}\n`;
  const files = [{ path: 'test.rego', content }];
  if (secret !== undefined) {
    const listed = [{ name: 'test.rego', hash: hash('sha256', content), algorithm: 'SHA-256' }];
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${encode({ alg: 'HS256' })}.${encode({ files: listed })}`;
    const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
    files.push({ path: '.signatures.json', content: JSON.stringify({ signatures: [token] }) });
  }
  await writeFile(path, tarGz(files));
}

interface Life extends AsyncDisposable {
  readonly engine: PolicyEngine;
  allows(x: number): Promise<boolean>;
  rollback(digest?: string): Promise<void>;
  digest(): string;
}

async function live(name?: string): Promise<Life> {
  const stop = new AbortController();
  const keys = [{ name: name ?? '', id: 'k', algorithm: 'HS256', file: join(folder.path, 'key') }] as const;
  const verify: VerifyRules = { keys, scope: '', excludeFiles: [] };
  const options = { clock: systemClock, reader: createBundleReader(program) };
  const source = bundleFileSource(path, name === undefined ? options : { ...options, verify });
  const engine = createPolicyEngine({
    policies: [{ name: 'default', path: source, entrypoint: 'test/allow' }],
    evalTimeoutMs: 5000,
    regoProgram: program,
    memory,
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  await engine.start(stop.signal);
  const running = engine.run(stop.signal);
  return {
    engine,
    async allows(x) {
      const input = new TextEncoder().encode(JSON.stringify({ x }));
      return (await engine.decide('default', input, { deadline: Date.now() + 5000 })).effect === 'allow';
    },
    digest: () => engine.status.value.get('default')?.digest ?? '',
    rollback: (digest) =>
      engine.rollback('default', { by: 'uid:0', ...(digest === undefined ? {} : { digest }) }, stop.signal),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

async function untilAllowed(life: Life, x: number): Promise<void> {
  await waitUntil(`${x} to be allowed`, LIMIT_MS, () => life.allows(x));
}

describe('a policy whose bundle has to be signed', () => {
  test('does not go back to what was in force before that', async () => {
    await offer(1);
    let unsigned: string;
    {
      await using life = await live();
      assert.ok(await life.allows(1));
      unsigned = life.digest();
    }
    await offer(2, SECRET);
    await using life = await live('release');
    assert.ok(await life.allows(2));
    await assert.rejects(life.rollback(), { code: 'not_found', message: /that counts now/ });
    await assert.rejects(life.rollback(unsigned), { code: 'not_found', message: /counts now/ });
    assert.ok(await life.allows(2));
    assert.ok(!(await life.allows(1)));
  });

  test('goes back to what the same key signed, and after a restart only while that counts', async () => {
    await offer(1, SECRET);
    {
      await using life = await live('release');
      assert.ok(await life.allows(1));
      await offer(2, SECRET);
      await untilAllowed(life, 2);
      await life.rollback();
      assert.ok(await life.allows(1));
    }
    {
      await using life = await live('release');
      assert.ok(await life.allows(1));
    }
    await useKey(OTHER_SECRET);
    await using life = await live('release');
    assert.ok(!(await life.allows(1)) && !(await life.allows(2)));
  });

  test('does not go back to what a withdrawn key signed, under its name or another', async () => {
    await offer(1, SECRET);
    let old: string;
    {
      await using life = await live('release');
      old = life.digest();
    }
    await useKey(OTHER_SECRET);
    await offer(2, OTHER_SECRET);
    {
      await using life = await live('release');
      assert.ok(await life.allows(2));
      await assert.rejects(life.rollback(old), { code: 'conflict', message: /does not count any more/ });
      await assert.rejects(life.rollback(), { code: 'conflict', message: /does not count any more/ });
    }
    await using life = await live('second');
    await assert.rejects(life.rollback(old), { code: 'not_found' });
    assert.ok(await life.allows(2));
  });
});

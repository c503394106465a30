import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { describe, it } from 'node:test';
import type { OffloadEvidence } from '../../src/evidence/index.ts';
import { startAccessLogEnvoy } from '../support/access-log-envoy.ts';
import { startAccessLogProgram } from '../support/access-log-program.ts';
import { recordsIn, STAGE_DIGEST, startAccessLogStage, type AccessLogStage } from '../support/access-log-stage.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 30_000;

/** Of the Envoy and policy `default`. */
interface Books {
  evidence(): OffloadEvidence | undefined | Promise<OffloadEvidence | undefined>;
}

/** Statuses of so many requests, some at a time. */
async function ask(url: string, count: number, headers: Readonly<Record<string, string>> = {}): Promise<Set<number>> {
  const statuses = new Set<number>();
  using agent = new (class extends Agent {
    [Symbol.dispose](): void {
      this.destroy();
    }
  })({ keepAlive: true, maxSockets: 8 });
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const call = get(url, { agent, headers });
      const [response] = (await once(call, 'response')) as [NodeJS.ReadableStream & { statusCode: number }];
      statuses.add(response.statusCode);
      response.resume();
      await once(response, 'end');
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return statuses;
}

const told = (stage: AccessLogStage, received: number, counted: number): Promise<true> =>
  waitUntil(`${received} of ${counted} records`, LIMIT_MS, () => {
    const line = stage.evidence();
    return line?.received === received && line.counted === counted;
  });

describe('what a real Envoy answered by itself', () => {
  for (const { name, path, skip } of envoyVersions()) {
    it(`is recorded, each request once: ${name}`, { skip }, async () => {
      await using folder = await tempFolder();
      {
        await using stage = await startAccessLogStage(folder.path);
        await using gate = await startAccessLogEnvoy(folder.path, { binary: path, fastDeny: true });
        await ask(`${gate.url}/a/17?q=1`, 3000, { 'x-tenant': 'blue' });
        assert.deepEqual(
          await ask(`${gate.url}/a/rewritten`, 1, { 'x-envoy-original-path': '/forged' }),
          new Set([200]),
        );
        assert.deepEqual(await ask(`${gate.url}/b`, 5), new Set([200]), 'goes on to the next filter');
        assert.deepEqual(await ask(`${gate.url}/c`, 7), new Set([403]));
        await told(stage, 3001, 3001);
        const denied = await waitUntil('the denies', LIMIT_MS, () =>
          stage.books.status().find(({ outcome, received }) => outcome === 'deny' && received === 7),
        );
        assert.equal(denied.name, 'log-envoy');
        assert.equal(denied.pid, gate.envoy.pid);
        await waitUntil('nothing lost', LIMIT_MS, () => stage.evidence()?.lost === 0);
      }
      const records = await recordsIn(folder.path);
      const allowed = records.filter(({ svidgate }) => svidgate.outcome === 'allow');
      assert.equal(allowed.length, 3001);
      assert.equal(records.length, 3008);
      assert.equal(new Set(records.map(({ svidgate }) => svidgate.request_id)).size, 3008);
      const paths = new Set(allowed.map(({ input }) => JSON.stringify(input?.['parsed_path'])));
      assert.deepEqual(paths, new Set(['["a","17"]', '["a","rewritten"]']), 'as the rules saw them');
      const [record] = allowed;
      assert.deepEqual(record?.input, {
        attributes: { request: { http: { method: 'GET' } } },
        parsed_path: ['a', '17'],
      });
      assert.deepEqual(
        { ...record?.svidgate, request_id: '' },
        {
          policy: 'default',
          policy_digest: STAGE_DIGEST,
          outcome: 'allow',
          reason: '',
          http_status: 0,
          principal: 'unverified',
          caller: 'attested',
          caller_ids: ['spiffe://example.test/envoy'],
          listener: '',
          method: 'GET',
          route: 'things',
          request_id: '',
          offloaded: true,
          offload_rule: 'rule-a',
          rules: [{ name: 'data.envoy.authz.allow', file: 'authz.rego', line: 7 }],
          recorded: [['attributes', 'request', 'http', 'method'], ['parsed_path']],
          cached: false,
          replayable: true,
        },
      );
    });
  }

  it('is counted while svidgate is away, hangs, is killed and comes back', async () => {
    await using folder = await tempFolder();
    await using first = await startAccessLogStage(folder.path);
    await using gate = await startAccessLogEnvoy(folder.path);
    const url = `${gate.url}/a`;
    const settled = (books: Books, counted: number): Promise<OffloadEvidence> =>
      waitUntil(`${counted} requests in the books`, LIMIT_MS, async () => {
        const line = await books.evidence();
        return line?.counted === counted && line.received + (line.lost ?? 0) >= counted && line;
      });
    await ask(url, 500);
    assert.equal((await settled(first, 500)).received, 500);
    await first[Symbol.asyncDispose]();
    // Nobody listens: Envoy drops what it has, and says nothing of it.
    await ask(url, 300);
    {
      await using program = await startAccessLogProgram(folder.path);
      await ask(url, 200);
      const line = await settled(program, 1000);
      assert.equal(line.received, 700 + (300 - (line.lost ?? 0)), 'what is not lost has come');
      assert.ok((line.lost ?? 0) > 0, 'the loss is told');
      const lostBefore = line.lost ?? 0;
      // It hangs: Envoy goes on answering, and keeps what fits.
      program.signal('SIGSTOP');
      assert.deepEqual(await ask(url, 1000), new Set([200]));
      program.signal('SIGCONT');
      const after = await settled(program, 2000);
      assert.equal(after.received + (after.lost ?? 0), 2000);
      assert.ok((after.lost ?? 0) >= lostBefore);
      await program.end('SIGKILL');
    }
    {
      await using last = await startAccessLogStage(folder.path);
      await ask(url, 100);
      const line = await settled(last, 2100);
      assert.equal(line.received + (line.lost ?? 0), 2100);
      await last[Symbol.asyncDispose]();
      const records = await recordsIn(folder.path);
      assert.ok(records.length >= line.received, 'each that counts as received is on disk');
      assert.ok(2100 - records.length <= (line.lost ?? 0), 'what is not on disk counts as lost');
    }
  });
});

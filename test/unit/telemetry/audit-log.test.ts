import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import {
  AUDIT_FIELD_CATALOGUE,
  noMetrics,
  silentLogger,
  type AuditEvent,
  type Logger,
} from '../../../src/core/index.ts';
import {
  createAuditLog,
  createMetrics,
  formatAuditLine,
  MAX_AUDIT_LIST_LENGTH,
  MAX_AUDIT_TEXT_LENGTH,
  REDACTED,
  type AuditLogOptions,
} from '../../../src/telemetry/index.ts';
import { noSmallDisk, runOnSmallDisk } from '../../support/small-disk.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { createTestClock } from '../../support/test-clock.ts';

const NOW = Date.UTC(2026, 0, 1);

const ISSUED: AuditEvent = {
  event: 'svid_issued',
  svid_type: 'jwt',
  method: 'FetchJWTSVID',
  result: 'success',
  caller: { pid: 4711, uid: 0, gid: 1001, executable: '/usr/bin/envoy', selectors: ['unix:uid:0'] },
  spiffe_id: 'spiffe://prod.acme.test/web',
  entry_id: 'web',
  serial: 'ab12',
  authority_id: 'cd34',
  audience: ['api'],
  rotation: false,
  expires_at: '2026-01-01T01:00:00.000Z',
  ttl_seconds: 3600,
  duration_ms: 0.4,
};

function options(file: string, changed: Partial<AuditLogOptions> = {}): AuditLogOptions {
  const quiet = { logger: silentLogger, metrics: noMetrics, clock: createTestClock(NOW) };
  return { file, maxBytes: 1_000_000, maxFiles: 3, required: true, ...quiet, ...changed };
}

function event(method: string): AuditEvent {
  return { event: 'admin_call', method, result: 'success' };
}

async function methodsIn(file: string): Promise<readonly string[]> {
  const text = await readFile(file, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'));
  return text.split('\n').flatMap((line) => (line === '' ? [] : (JSON.parse(line) as { method: string }).method));
}

describe('a line of the audit log', () => {
  it('is JSON with time, level and the fields in the order of the catalogue', () => {
    const line = formatAuditLine(ISSUED, NOW);
    const { caller: _caller, ...fields } = ISSUED;
    const parsed = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual(parsed, {
      time: '2026-01-01T00:00:00.000Z',
      level: 'audit',
      ...fields,
      caller_pid: 4711,
      caller_uid: 0,
      caller_gid: 1001,
      caller_executable: '/usr/bin/envoy',
      selectors: ['unix:uid:0'],
    });
    const order = ['time', 'level', ...Object.keys(AUDIT_FIELD_CATALOGUE)];
    assert.deepEqual(
      Object.keys(parsed),
      order.filter((name) => name in parsed),
    );
    assert.equal(line.indexOf('\n'), line.length - 1);
  });

  it('has no field that is not in the catalogue, and no value of another kind', () => {
    const odd = { token: 'x', method: { a: 1 }, duration_ms: Number.NaN, caller: { pid: 1, password: 'x' } };
    const line = formatAuditLine({ ...event('m'), ...odd } as unknown as AuditEvent, NOW);
    const { time: _time, ...rest } = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual(rest, { level: 'audit', event: 'admin_call', result: 'success', caller_pid: 1 });
  });

  it('cuts long texts and long lists', () => {
    const selectors = Array.from({ length: 1000 }, () => 's'.repeat(10_000));
    const parsed = JSON.parse(formatAuditLine({ ...event('m'), caller: { selectors } }, NOW)) as typeof selectors & {
      selectors: readonly string[];
    };
    assert.equal(parsed.selectors.length, MAX_AUDIT_LIST_LENGTH + 1);
    assert.equal(parsed.selectors[0], `${'s'.repeat(MAX_AUDIT_TEXT_LENGTH)}…`);
    assert.equal(parsed.selectors.at(-1), `… ${1000 - MAX_AUDIT_LIST_LENGTH} more`);
  });

  it('holds no key and no token, whatever field one comes in', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const jwt = `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.e30.c2ln`;
    for (const secret of [pem, jwt]) {
      const text = `before ${secret} after`;
      const leaky = {
        ...ISSUED,
        failure_reason: text,
        audience: [text],
        caller: { executable: text, selectors: [text] },
      };
      const line = formatAuditLine(leaky, NOW);
      assert.equal(line.split(REDACTED).length, 5);
      for (const piece of secret.split(/[\n.]/).filter((part) => part.length > 10)) assert.ok(!line.includes(piece));
    }
  });

  it('is one line of JSON, whatever the texts are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(fc.string({ unit: 'binary' })), (text, selectors) => {
        const line = formatAuditLine({ ...event(text), spiffe_id: text, caller: { executable: text, selectors } }, NOW);
        assert.equal(line.indexOf('\n'), line.length - 1);
        JSON.parse(line);
      }),
    );
  });
});

describe('the audit log', () => {
  it('makes its folder and its file for its own user alone, and appends to what is there', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'deep/log/audit.log');
    for (const method of ['a', 'b']) {
      const log = createAuditLog(options(file));
      log.record(event(method));
      await log.close();
    }
    assert.deepEqual(await methodsIn(file), ['a', 'b']);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(join(folder.path, 'deep/log'))).mode & 0o777, 0o700);
  });

  it('has every line that was recorded before a kill -9', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'audit.log');
    const module = (name: string): string => JSON.stringify(import.meta.resolve(`../../../src/${name}/index.ts`));
    const script = `const { createAuditLog } = await import(${module('telemetry')});
      const { silentLogger: logger, noMetrics: metrics, systemClock: clock } = await import(${module('core')});
      const limits = { maxBytes: 1e6, maxFiles: 1, required: true };
      const log = createAuditLog({ file: ${JSON.stringify(file)}, ...limits, logger, metrics, clock });
      for (let i = 0; i < 100; i += 1) log.record({ event: 'admin_call', method: String(i), result: 'success' });
      process.kill(process.pid, 'SIGKILL');`;
    const { signal } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' });
    assert.equal(signal, 'SIGKILL');
    assert.deepEqual(
      await methodsIn(file),
      Array.from({ length: 100 }, (_, index) => String(index)),
    );
  });

  it('is rotated by size, keeping the newest files in order and losing no line among them', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'audit.log');
    const size = Buffer.byteLength(formatAuditLine(event('0'), NOW));
    const log = createAuditLog(options(file, { maxBytes: 2 * size, maxFiles: 2 }));
    for (const method of '012345678') log.record(event(method));
    await log.close();
    assert.deepEqual((await readdir(folder.path)).sort(), ['audit.log', 'audit.log.1', 'audit.log.2']);
    const contents = await Promise.all(['.2', '.1', ''].map((suffix) => methodsIn(`${file}${suffix}`)));
    assert.deepEqual(contents, [['4', '5'], ['6', '7'], ['8']]);
  });

  it('takes a line that is longer than a file may be', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'audit.log');
    const log = createAuditLog(options(file, { maxBytes: 10 }));
    for (const method of 'abc') log.record(event(method));
    await log.close();
    assert.deepEqual(await methodsIn(`${file}.2`), ['a']);
    assert.deepEqual(await methodsIn(file), ['c']);
  });

  it('fills the first gap among the rotated files, as a crash leaves one, and pushes none out for it', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'audit.log');
    await writeFile(`${file}.1`, '');
    await writeFile(`${file}.3`, 'kept');
    const log = createAuditLog(options(file, { maxBytes: 10 }));
    for (const method of 'ab') log.record(event(method));
    await log.close();
    assert.deepEqual(await methodsIn(`${file}.1`), ['a']);
    assert.equal(await readFile(`${file}.2`, 'utf8'), '');
    assert.equal(await readFile(`${file}.3`, 'utf8'), 'kept');
  });

  it('goes on in a larger file, and says so once a minute, while it cannot be rotated', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'audit.log');
    await mkdir(join(`${file}.1`, 'in the way'), { recursive: true });
    const { logger, messages } = capture();
    const clock = createTestClock(NOW);
    const log = createAuditLog(options(file, { maxBytes: 10, maxFiles: 1, logger, clock }));
    for (const method of 'abc') log.record(event(method));
    assert.deepEqual(messages, ['audit log cannot be rotated']);
    await clock.advance(60_000);
    log.record(event('d'));
    await log.close();
    assert.deepEqual(messages.length, 2);
    assert.deepEqual(await methodsIn(file), ['a', 'b', 'c', 'd']);
  });

  it('starts a new file when the old one was moved away, and ends the half line that a power cut left', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'audit.log');
    const log = createAuditLog(options(file));
    log.record(event('a'));
    await rename(file, `${file}.moved`);
    log.record(event('b'));
    assert.deepEqual([await methodsIn(`${file}.moved`), await methodsIn(file)], [['a'], ['b']]);
    await log.close();
    await appendFile(file, '{"time":');
    const next = createAuditLog(options(file));
    next.record(event('c'));
    await next.close();
    assert.match(await readFile(file, 'utf8'), /^\{[^\n]*"b"[^\n]*\}\n\{"time":\n\{[^\n]*"c"[^\n]*\}\n$/);
  });

  for (const { what, prepare } of [
    { what: 'a link', prepare: (file: string) => symlink('/dev/null', file) },
    { what: 'a folder', prepare: (file: string) => mkdir(file) },
    { what: 'a pipe', prepare: (file: string) => Promise.resolve(void spawnSync('mkfifo', [file])) },
    { what: 'below a file', prepare: (file: string) => writeFile(join(file, '..'), '') },
  ]) {
    it(`refuses a file that is ${what}: the start fails when it is required, each event counts when it is not`, async () => {
      await using folder = await tempFolder();
      const file = join(folder.path, 'log/audit.log');
      if (what !== 'below a file') await mkdir(join(folder.path, 'log'));
      await prepare(file);
      assert.throws(() => createAuditLog(options(file)), { code: 'audit_failed' });
      const metrics = createMetrics({ processMetrics: false });
      const { logger, messages } = capture();
      const log = createAuditLog(options(file, { required: false, metrics, logger }));
      log.record(event('a'));
      log.record(event('b'));
      await log.close();
      assert.match((await metrics.render()).body, /^svidgate_audit_failures_total 3$/m);
      assert.deepEqual(messages, ['audit log cannot be written']);
    });
  }

  it('fails once it is closed', async () => {
    await using folder = await tempFolder();
    const log = createAuditLog(options(join(folder.path, 'audit.log')));
    await log.close();
    await log.close();
    assert.throws(() => log.record(event('a')), { code: 'audit_failed' });
  });

  it(
    'on a full disk throws when it is required and counts when not, has whole lines only, and heals',
    {
      skip: noSmallDisk,
    },
    async () => {
      await runOnSmallDisk(fileURLToPath(import.meta.resolve('../../support/audit-full-disk.ts')), 200_000);
    },
  );
});

function capture(): { readonly logger: Logger; readonly messages: string[] } {
  const messages: string[] = [];
  const logger: Logger = { ...silentLogger, error: (_fields, message) => void messages.push(message) };
  return { logger, messages };
}

/** Run by runOnSmallDisk with 200 kB: an audit log on a disk that fills up and is emptied again. Asserts, exits 0 or 1. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { createAuditLog, createMetrics } from '../../src/telemetry/index.ts';

const disk = process.argv[2] ?? '';
const ballast = join(disk, 'ballast');
writeFileSync(ballast, Buffer.alloc(64 * 1024));

for (const required of [true, false]) {
  const file = join(disk, `audit-${required}.log`);
  const metrics = createMetrics({ processMetrics: false });
  const log = createAuditLog({
    file,
    maxBytes: 10_000_000,
    maxFiles: 1,
    required,
    logger: silentLogger,
    metrics,
    clock: systemClock,
  });
  const record = (number: number): void =>
    log.record({ event: 'admin_call', method: `m${number}`, role: 'x'.repeat(999), result: 'success' });
  let written = 0;
  if (required) {
    assert.throws(
      () => {
        for (; written < 1000; written += 1) record(written);
      },
      { code: 'audit_failed', message: 'the audit log cannot be written' },
    );
  } else {
    for (let number = 0; number < 500; number += 1) record(number);
  }
  const failures = Number(/^svidgate_audit_failures_total (\d+)$/m.exec((await metrics.render()).body)?.[1]);
  if (required) assert.equal(failures, 1);
  else written = 500 - failures;
  assert.ok(failures > 0 && written > 10);

  rmSync(ballast);
  record(written);
  await log.close();
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const methods = lines.map((line) => (JSON.parse(line) as { method: string }).method);
  assert.deepEqual(
    methods,
    Array.from({ length: written + 1 }, (_, index) => `m${index}`),
    'whole lines, those that were taken, in order',
  );
  rmSync(file);
  writeFileSync(ballast, Buffer.alloc(64 * 1024));
}

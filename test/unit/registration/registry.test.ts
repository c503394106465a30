import assert from 'node:assert/strict';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  noMetrics,
  silentLogger,
  systemClock,
  type LogFields,
  type Logger,
  type Metrics,
} from '../../../src/core/index.ts';
import { createRegistry, type Registry } from '../../../src/registration/index.ts';
import { parseSelector, parseTrustDomain } from '../../../src/spiffe/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';

const WAIT_MS = 10_000;

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

function recorder(): { readonly lines: Line[]; readonly failures: string[]; logger: Logger; metrics: Metrics } {
  const lines: Line[] = [];
  const failures: string[] = [];
  const log = (level: string) => (fields: LogFields, message: string) => void lines.push({ level, message, fields });
  const logger: Logger = { ...silentLogger, info: log('info'), warn: log('warn'), child: () => logger };
  const metrics: Metrics = {
    ...noMetrics,
    count: (name, labels) => void failures.push(`${name} ${JSON.stringify(labels)}`),
  };
  return { lines, failures, logger, metrics };
}

function registryOf(file: string, record = recorder()): Registry {
  const { logger, metrics } = record;
  return createRegistry({ file, trustDomain: parseTrustDomain('td.test'), clock: systemClock, logger, metrics });
}

function entriesText(...names: readonly string[]): string {
  const entries = names.map((name) => `  - {spiffe_id: spiffe://td.test/${name}, selectors: ["unix:uid:1"]}\n`);
  return names.length === 0 ? 'entries: []\n' : `entries:\n${entries.join('')}`;
}

function namesOf(registry: Registry): string[] {
  return registry.snapshot.value
    .match(new Set([parseSelector('unix:uid:1')]))
    .map(({ spiffeId }) => spiffeId.slice('spiffe://td.test/'.length))
    .sort();
}

/** Runs the registry while `during` does, and waits for its end. */
async function running(registry: Registry, during: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const run = registry.run(stop.signal);
  try {
    await during();
  } finally {
    stop.abort();
    await run;
  }
}

describe('the registry', { timeout: 60_000 }, () => {
  test('without a file there are no entries', async () => {
    const { logger, metrics } = recorder();
    const registry = createRegistry({ trustDomain: parseTrustDomain('td.test'), clock: systemClock, logger, metrics });
    await registry.load();
    await running(registry, async () => undefined);
    assert.deepEqual(registry.snapshot.value.entries, []);
  });

  test('loading a file with mistakes fails with all of them', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, 'entries:\n  - {spiffe_id: x, selectors: []}\n');
    await assert.rejects(registryOf(file).load(), {
      code: 'config_invalid',
      message: [
        `${file}:2:17: \`entries[0].spiffe_id\` is "x": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"`,
        `${file}:2:31: \`entries[0].selectors\` is an empty list: expected a list of at least one selector, such as unix:uid:1001`,
      ].join('\n'),
    });
    await assert.rejects(registryOf(join(folder.path, 'none.yaml')).load(), {
      code: 'config_invalid',
      message: `${join(folder.path, 'none.yaml')}:1:1: cannot read the file: it does not exist: check the path and its permissions`,
    });
  });

  test('a change is in force as one whole, whether written in place or renamed over', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, entriesText('a'));
    const registry = registryOf(file);
    await registry.load();
    assert.deepEqual(namesOf(registry), ['a']);
    await running(registry, async () => {
      await writeFile(file, entriesText('a', 'b'));
      await waitUntil('the second entry', WAIT_MS, () => namesOf(registry).length === 2);
      await writeFile(`${file}.new`, entriesText('c'));
      await rename(`${file}.new`, file);
      await waitUntil('the renamed file', WAIT_MS, () => namesOf(registry).join(' ') === 'c');
    });
  });

  test('a wrong or vanished file keeps the last good entries, says so once, and mends itself', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, entriesText('a'));
    const record = recorder();
    const registry = registryOf(file, record);
    await registry.load();
    const before = registry.snapshot.value;
    await running(registry, async () => {
      await writeFile(`${file}.new`, 'entries:\n  - {spiffe_id: spiffe://td.test/b, selector: []}\n');
      await rename(`${file}.new`, file);
      await waitUntil('the refusal', WAIT_MS, () => registry.status.value.state === 'stale');
      assert.equal(registry.snapshot.value, before);
      assert.deepEqual(
        record.lines.filter(({ level }) => level === 'warn'),
        [
          {
            level: 'warn',
            message: 'entries refused, the last good ones stay',
            fields: {
              file,
              line: 2,
              column: 5,
              reason:
                'missing key `entries[0].selectors`: expected a list of at least one selector, such as unix:uid:1001',
            },
          },
          {
            level: 'warn',
            message: 'entries refused, the last good ones stay',
            fields: {
              file,
              line: 2,
              column: 37,
              reason: 'unknown key `entries[0].selector`: did you mean `selectors`?',
            },
          },
        ],
      );
      assert.deepEqual(record.failures, ['svidgate_reload_failures_total {"source":"entries"}']);

      await rm(file);
      await waitUntil('the vanished file', WAIT_MS, () => record.failures.length === 2);
      assert.equal(registry.status.value.mistakes[0]?.message, 'cannot read the file: it does not exist');
      assert.equal(registry.snapshot.value, before);

      await writeFile(`${file}.new`, entriesText('a'));
      await rename(`${file}.new`, file);
      await waitUntil('the mended file', WAIT_MS, () => registry.status.value.state === 'current');
      assert.deepEqual(registry.status.value.mistakes, []);
      assert.equal(registry.snapshot.value, before, 'the same entries are no change');
    });
  });

  test('a file that becomes a folder is a wrong file', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, entriesText('a'));
    const registry = registryOf(file);
    await registry.load();
    await running(registry, async () => {
      await rm(file);
      await mkdir(file);
      await waitUntil('the refusal', WAIT_MS, () =>
        registry.status.value.mistakes.some(({ message }) => message.includes('not a regular file')),
      );
      assert.deepEqual(namesOf(registry), ['a']);
    });
  });

  test('an entry with a program alone draws a warning, once', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    const risky =
      '  - {entry_id: risky, spiffe_id: spiffe://td.test/x, selectors: ["unix:path:/bin/x", "unix:sha256:ab"]}\n';
    const fine = '  - {entry_id: fine, spiffe_id: spiffe://td.test/y, selectors: ["unix:path:/bin/x", "unix:uid:1"]}\n';
    await writeFile(file, `entries:\n${risky}`);
    const record = recorder();
    const registry = registryOf(file, record);
    await registry.load();
    await running(registry, async () => {
      await writeFile(file, `entries:\n${risky}${fine}`);
      await waitUntil('the second entry', WAIT_MS, () => registry.snapshot.value.entries.length === 2);
    });
    assert.deepEqual(
      record.lines.filter(({ level }) => level === 'warn'),
      [
        {
          level: 'warn',
          message: 'entry names a program but neither a user nor a container',
          fields: {
            entry_id: 'risky',
            spiffe_id: 'spiffe://td.test/x',
            selectors: ['unix:path:/bin/x', 'unix:sha256:ab'],
          },
        },
      ],
    );
  });

  test('a large file is read without holding up the thread', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, entriesText('a'));
    const registry = registryOf(file);
    await registry.load();
    await running(registry, async () => {
      await writeFile(`${file}.new`, entriesText(...Array.from({ length: 5000 }, (_, index) => `w${index}`)));
      await rename(`${file}.new`, file);
      let longest = 0;
      let last = performance.now();
      const timer = setInterval(() => {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
      }, 5);
      try {
        await waitUntil('the large file', WAIT_MS, () => registry.snapshot.value.entries.length === 5000);
      } finally {
        clearInterval(timer);
      }
      assert.ok(longest < 400, `held up for ${longest} ms`);
    });
  });

  test('stopping in the middle of a large file ends at once', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, entriesText('a'));
    const registry = registryOf(file);
    await registry.load();
    await writeFile(file, entriesText(...Array.from({ length: 20_000 }, (_, index) => `w${index}`)));
    const started = performance.now();
    await running(registry, () =>
      waitUntil('a moment', 1000, () => performance.now() - started > 100).then(() => undefined),
    );
    assert.deepEqual(namesOf(registry), ['a']);
  });
});

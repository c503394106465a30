import assert from 'node:assert/strict';
import { hkdfSync, randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { ALLOW, Follower, LIMIT_MS, openStore, type OpenStore, type StoreRequest } from './support.ts';

const HOUR = 3600_000;
const START = Date.UTC(2026, 0, 1);
const TICKETS = { kind: 'session_tickets', rotateEveryMs: HOUR, keepOld: 2, allow: ALLOW } as const;

let root: TempFolder;
let dataDir: string;
let clock: TestClock;

beforeEach(async () => {
  root = await tempFolder();
  dataDir = join(root.path, 'data');
  await mkdir(dataDir);
  clock = createTestClock(START + 1);
});
afterEach(() => root[Symbol.asyncDispose]());

async function openTickets(request: Partial<StoreRequest> = {}): Promise<OpenStore> {
  return await openStore({ secrets: { tickets: TICKETS }, dataDir, clock, ...request });
}

/** The keys as hex, the encrypting one first. */
function keysOf(open: OpenStore, name = 'tickets'): readonly string[] {
  using follower = new Follower(open.store, name);
  const { content } = follower;
  assert.ok(content?.kind === 'session_tickets');
  for (const key of content.keys) assert.equal(key.length, 80);
  const keys = content.keys.map((key) => Buffer.from(key).toString('hex'));
  assert.equal(new Set(keys).size, keys.length);
  return keys;
}

/** Moves on, and waits until that shows. */
async function advance(open: OpenStore, ms: number): Promise<readonly string[]> {
  const before = keysOf(open).join();
  await clock.advance(ms);
  await waitUntil('new keys', LIMIT_MS, () => keysOf(open).join() !== before);
  return keysOf(open);
}

async function keyFiles(): Promise<readonly string[]> {
  return await readdir(join(dataDir, 'secrets'));
}

async function keptText(): Promise<string> {
  const [file = ''] = await keyFiles();
  return await readFile(join(dataDir, 'secrets', file), 'utf8');
}

function base64(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64');
}

describe('random ticket keys', () => {
  test('are known a period before they encrypt, and decrypt for the configured number after', async () => {
    await using open = await openTickets();
    const [a, b, ...none] = keysOf(open);
    assert.deepEqual(none, []);
    await clock.advance(HOUR - 2);
    assert.deepEqual(keysOf(open), [a, b], 'too early');
    const [, c] = await advance(open, 1);
    assert.deepEqual(keysOf(open), [b, c, a]);
    const [, d] = await advance(open, HOUR);
    assert.deepEqual(keysOf(open), [c, d, b, a]);
    const [, e] = await advance(open, HOUR);
    assert.deepEqual(keysOf(open), [d, e, c, b]);
  });

  test('stay the same object while nothing changes, and each change is told once', async () => {
    await using open = await openTickets();
    using follower = new Follower(open.store, 'tickets');
    const { content } = follower;
    await clock.advance(HOUR / 2);
    assert.equal(follower.content, content);
    await advance(open, HOUR);
    assert.equal(follower.changes, 1);
  });

  test('are kept over a restart in a file of our own, without those past their use', async () => {
    let keys: readonly string[];
    let old: readonly string[];
    {
      await using open = await openTickets();
      old = [...keysOf(open), ...(await advance(open, HOUR))];
      await advance(open, HOUR);
      await advance(open, HOUR);
      keys = await advance(open, HOUR);
    }
    const [file = '', ...others] = await keyFiles();
    assert.deepEqual(others, []);
    assert.equal((await stat(join(dataDir, 'secrets', file))).mode & 0o777, 0o600);
    assert.equal((await stat(join(dataDir, 'secrets'))).mode & 0o777, 0o700);
    const kept = await keptText();
    for (const key of keys) assert.ok(kept.includes(base64(key)));
    for (const key of old.filter((one) => !keys.includes(one))) assert.ok(!kept.includes(base64(key)), 'an old key');
    await using again = await openTickets();
    assert.deepEqual(keysOf(again), keys);
    assert.deepEqual(again.lines, []);
  });

  test('that a server missed while it was down are gone when it starts', async () => {
    let keys: readonly string[];
    {
      await using open = await openTickets();
      keys = keysOf(open);
    }
    clock.set(START + 2 * HOUR);
    {
      await using open = await openTickets();
      assert.deepEqual(keysOf(open).slice(2), [keys[1], keys[0]]);
    }
    clock.set(START + 100 * HOUR);
    await using open = await openTickets();
    assert.equal(keysOf(open).length, 2);
    for (const key of keys) assert.ok(!(await keptText()).includes(base64(key)));
  });

  test('are the same again when the clock was set back by less than they are kept', async () => {
    await using open = await openTickets();
    await advance(open, HOUR);
    const keys = keysOf(open);
    const [, newest = ''] = await advance(open, HOUR);
    clock.set(START + HOUR + 1);
    await clock.advance(60_000);
    assert.deepEqual(keysOf(open), keys);
    clock.set(START + 2 * HOUR + 1);
    await clock.advance(60_000);
    assert.equal(keysOf(open)[1], newest);
  });

  const damages: readonly (readonly [string, (text: string) => string])[] = [
    ['cut off', (text) => text.slice(0, -20)],
    ['empty', () => ''],
    ['no list', () => '{"name":"tickets"}'],
    ['null', () => 'null'],
    ['of a short key', (text) => text.replace(/"key":"[^"]{8}/, '"key":"')],
    ['of no key', (text) => text.replace(/"key":"[^"]*"/, '"key":7')],
    ['of another secret', (text) => text.replace('"name":"tickets"', '"name":"other"')],
    ['of other periods', (text) => text.replace('3600000', '60000')],
    ['too large', (text) => text + ' '.repeat(100_000)],
  ];
  for (const [what, damage] of damages) {
    test(`in a file that is ${what} are replaced, without a word of them in the log`, async () => {
      let keys: readonly string[];
      {
        await using open = await openTickets();
        keys = keysOf(open);
      }
      const [file = ''] = await keyFiles();
      const text = await keptText();
      await writeFile(join(dataDir, 'secrets', file), damage(text));
      await using open = await openTickets();
      assert.equal(keysOf(open).length, 2);
      assert.deepEqual(
        keysOf(open).filter((key) => keys.includes(key)),
        [],
      );
      assert.deepEqual(
        open.lines.map(({ level, message }) => `${level} ${message}`),
        ['warn kept session ticket keys not used'],
      );
      for (const key of keys) assert.ok(!JSON.stringify(open.lines).includes(base64(key).slice(0, 12)));
    });
  }

  test('of different secrets are different ones, and go with their secret', async () => {
    const secrets = { 'a/b': TICKETS, a_b: TICKETS };
    {
      await using open = await openTickets({ secrets });
      assert.deepEqual(
        keysOf(open, 'a/b').filter((key) => keysOf(open, 'a_b').includes(key)),
        [],
      );
    }
    assert.equal((await keyFiles()).length, 2);
    await writeFile(join(dataDir, 'secrets/.a_b-0123456789abcdef.json.0a1b2c.tmp'), 'left by a crash');
    {
      await using _ = await openTickets({ secrets: { a_b: TICKETS } });
      assert.equal((await keyFiles()).length, 1);
    }
    await using _ = await openTickets({ secrets: {} });
    assert.deepEqual(await keyFiles(), []);
  });

  test('come from the given source of randomness', async () => {
    let calls = 0;
    const random = (size: number): Uint8Array => new Uint8Array(size).fill((calls += 1));
    await using open = await openTickets({ random });
    assert.deepEqual(keysOf(open), ['01'.repeat(80), '02'.repeat(80)]);
  });

  test('are handed out when they cannot be written, with one warning, and written once that works', async () => {
    await using open = await openTickets();
    const [file = ''] = await keyFiles();
    const before = await keptText();
    // A folder in the place of the file: the rename fails, whoever we are.
    const path = join(dataDir, 'secrets', file);
    await writeFile(path, before);
    await swapForFolder(path);
    const keys = await advance(open, HOUR);
    for (let tries = 0; tries < 5; tries += 1) await clock.advance(10_000);
    assert.deepEqual(
      open.lines.map(({ message }) => message),
      ['session ticket keys cannot be kept'],
    );
    assert.deepEqual(keysOf(open), keys);
    await removeFolder(path);
    await waitUntil('the file', LIMIT_MS, async () => {
      await clock.advance(10_000);
      return (await keptText()).includes(base64(keys[1] ?? ''));
    });
  });
});

async function swapForFolder(path: string): Promise<void> {
  await rm(path);
  await mkdir(join(path, 'full'), { recursive: true });
}

async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true });
}

describe('ticket keys from a seed', () => {
  const seeded = (): { readonly tickets: typeof TICKETS & { readonly seedFile: string } } => ({
    tickets: { ...TICKETS, seedFile: join(root.path, 'seed') },
  });

  test('are the same on all servers that have it, and each other’s tickets decrypt over a skewed clock', async () => {
    await writeFile(join(root.path, 'seed'), randomBytes(32), { mode: 0o600 });
    await using one = await openTickets({ secrets: seeded() });
    await mkdir(join(root.path, 'other'));
    const ahead = createTestClock(START + 1 + HOUR);
    await using other = await openTickets({ secrets: seeded(), clock: ahead, dataDir: join(root.path, 'other') });
    const [encrypting = ''] = keysOf(other);
    assert.ok(keysOf(one).includes(encrypting), 'the slow one decrypts what the fast one encrypts');
    assert.ok(keysOf(other).includes(keysOf(one)[0] ?? ''), 'and the other way');
    const keys = keysOf(one);
    assert.equal(keys.length, 4);
    await advance(one, HOUR);
    assert.deepEqual(keysOf(one), keysOf(other));
    clock.set(START + 1);
    await clock.advance(60_000);
    assert.deepEqual(keysOf(one), keys, 'the clock was set back');
    await assert.rejects(readdir(join(dataDir, 'secrets')), 'nothing is written');
  });

  test('are HKDF-SHA256 of it, so that versions of svidgate agree', async () => {
    const seed = Buffer.alloc(32, 7);
    await writeFile(join(root.path, 'seed'), seed, { mode: 0o600 });
    await using open = await openTickets({ secrets: seeded() });
    const period = START / HOUR;
    const salt = 'svidgate TLS session ticket keys 1';
    const expected = [period, period + 1, period - 1, period - 2].map((one) =>
      Buffer.from(hkdfSync('sha256', seed, salt, `tickets ${one}`, 80)).toString('hex'),
    );
    assert.deepEqual(keysOf(open), expected);
  });

  test('of another name are others', async () => {
    await writeFile(join(root.path, 'seed'), randomBytes(32), { mode: 0o600 });
    const { tickets } = seeded();
    await using open = await openTickets({ secrets: { tickets, more: tickets } });
    assert.deepEqual(
      keysOf(open, 'more').filter((key) => keysOf(open).includes(key)),
      [],
    );
  });

  test('come when it does, change with it, and stay when it goes wrong', async () => {
    await using open = await openTickets({ secrets: seeded() });
    using follower = new Follower(open.store, 'tickets');
    assert.equal(follower.content, undefined);
    assert.equal(open.lines[0]?.reason, `${join(root.path, 'seed')} cannot be read: ENOENT`);
    const look = async (what: string, holds: () => boolean): Promise<void> => {
      await waitUntil(what, LIMIT_MS, async () => {
        await clock.advance(2000);
        return holds();
      });
    };
    await writeFile(join(root.path, 'seed'), randomBytes(31));
    await look('a refusal', () => open.lines.some(({ reason = '' }) => reason.includes('at least 32 bytes')));
    assert.equal(follower.content, undefined);
    await writeFile(join(root.path, 'seed'), randomBytes(32));
    await chmod(join(root.path, 'seed'), 0o644);
    await look('keys', () => follower.content !== undefined);
    const first = follower.content;
    await look('a warning', () => open.lines.some(({ message }) => message.startsWith('others may read')));
    await writeFile(join(root.path, 'seed'), randomBytes(64));
    await look('other keys', () => follower.content !== first);
    const second = follower.content;
    await writeFile(join(root.path, 'seed'), '');
    await look('one more refusal', () => open.counts.length === 3);
    assert.equal(follower.content, second);
  });
});

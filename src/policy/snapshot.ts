import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isFresh, QUIET_MS, SvidgateError } from '../core/index.ts';
import type { PolicySnapshot } from './snapshot-source.ts';

export interface SnapshotLimits {
  readonly maxFiles: number;
  /** Of all files together. */
  readonly maxBytes: number;
  /** Folders within folders. */
  readonly maxDepth: number;
}

export const SNAPSHOT_LIMITS: SnapshotLimits = { maxFiles: 2000, maxBytes: 64 * 2 ** 20, maxDepth: 16 };

/** A folder that changes all the time is not one state: it is read this often before that is an error. */
const MAX_READS = 5;
const DATA_FILES: ReadonlySet<string> = new Set(['data.json', 'data.yaml', 'data.yml']);
const REGO = '.rego';
const REGO_TEST = '_test.rego';

interface Reading extends PolicySnapshot {
  /** When the youngest file changed, epoch milliseconds. */
  readonly changedAt: number;
}

/**
 * Reads a policy folder (or one .rego file) until two reads give the same bytes, and no file changed a moment ago: files
 * which are replaced one after the other are taken as they belong together, and none that is half written. Throws
 * `file_unreadable` or `policy_invalid` with the path.
 */
export async function readSnapshot(path: string, limits: SnapshotLimits = SNAPSHOT_LIMITS): Promise<PolicySnapshot> {
  let before = await readOnce(path, limits);
  for (let reads = 2; reads <= MAX_READS; reads += 1) {
    const isLast = reads === MAX_READS;
    if (isFresh(before.changedAt)) await sleep(QUIET_MS);
    const { changedAt, ...after } = await readOnce(path, limits);
    if (after.digest === before.digest && (isLast || !isFresh(changedAt))) return after;
    before = { ...after, changedAt };
  }
  throw new SvidgateError('policy_invalid', `${path} changes while it is read`);
}

async function readOnce(path: string, limits: SnapshotLimits): Promise<Reading> {
  const root = await describe(path);
  const names = root.isFolder ? await listFiles(path, limits) : [basename(path)];
  if (!root.isFolder && !path.endsWith(REGO)) throw new SvidgateError('policy_invalid', `${path} is not a .rego file`);
  const modules: Record<string, string> = {};
  const data: Record<string, string> = {};
  const tests: Record<string, string> = {};
  const hash = createHash('sha256');
  let total = 0;
  let changedAt = Number.NEGATIVE_INFINITY;
  for (const name of names.toSorted()) {
    const file = root.isFolder ? join(path, name) : path;
    changedAt = Math.max(changedAt, (await describe(file)).changedAt);
    const bytes = await attempt(file, () => readFile(file));
    total += bytes.byteLength;
    if (total > limits.maxBytes)
      throw new SvidgateError('policy_invalid', `${path} holds more than ${limits.maxBytes} bytes`);
    const text = decode(bytes, file);
    if (name.endsWith(REGO_TEST)) {
      tests[name] = text;
      continue;
    }
    (name.endsWith(REGO) ? modules : data)[name] = text;
    // Lengths keep apart what a file's name or text could pretend to be.
    hash.update(`${Buffer.byteLength(name)}:${name}${bytes.byteLength}:`).update(bytes);
  }
  if (Object.keys(modules).length === 0) throw new SvidgateError('policy_invalid', `${path} has no .rego file`);
  return { files: { modules, data }, tests, digest: hash.digest('hex'), changedAt };
}

/**
 * Paths below the folder. Names that begin with `..` are skipped: Kubernetes keeps the real files of a mount in
 * `..data`, and links each name to them. Links to files are followed, links to folders are not: they may be loops.
 */
async function listFiles(root: string, limits: SnapshotLimits): Promise<string[]> {
  const found: string[] = [];
  const walk = async (below: string, depth: number): Promise<void> => {
    if (depth > limits.maxDepth)
      throw new SvidgateError('policy_invalid', `${root} is nested deeper than ${limits.maxDepth}`);
    const folder = join(root, below);
    for (const entry of await attempt(folder, () => readdir(folder, { withFileTypes: true }))) {
      const name = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.name.startsWith('..')) continue;
      if (entry.isDirectory()) await walk(name, depth + 1);
      else if (isPolicyFile(entry.name) && (entry.isFile() || !(await describe(join(root, name))).isFolder)) {
        found.push(name);
        if (found.length > limits.maxFiles) {
          throw new SvidgateError('policy_invalid', `${root} holds more than ${limits.maxFiles} policy files`);
        }
      }
    }
  };
  await walk('', 0);
  return found;
}

function isPolicyFile(name: string): boolean {
  return name.endsWith(REGO) || DATA_FILES.has(name);
}

async function describe(path: string): Promise<{ readonly isFolder: boolean; readonly changedAt: number }> {
  const entry = await attempt(path, () => stat(path));
  // A pipe or device would block the read.
  if (!entry.isDirectory() && !entry.isFile()) throw new SvidgateError('file_unreadable', `${path} is not a file`);
  return { isFolder: entry.isDirectory(), changedAt: entry.mtimeMs };
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new SvidgateError('policy_invalid', `${file} is not UTF-8`, { cause: error });
  }
}

async function attempt<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new SvidgateError('file_unreadable', `${path} cannot be read: ${code}`, { cause: error });
  }
}

import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LogPosition } from './disk-cursor.ts';
import { isObject } from './log-line.ts';

const NAME = /^cursor-([a-z0-9_-]+)\.json$/;

/** Where each reader was; null for a file that cannot be understood. */
export function readCursorFiles(folder: string): Map<string, LogPosition | null> {
  const names = readdirSync(folder).flatMap((name) => NAME.exec(name)?.[1] ?? []);
  return new Map(names.map((name) => [name, positionIn(readFileSync(fileOf(folder, name), 'utf8'))]));
}

/**
 * Replaces the file. Not synced: after a power cut the old place, or a file that cannot be understood, costs records that are
 * delivered twice.
 */
export function writeCursorFile(folder: string, name: string, position: LogPosition): void {
  const path = fileOf(folder, name);
  writeFileSync(`${path}.tmp`, JSON.stringify(position), { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

function fileOf(folder: string, name: string): string {
  return join(folder, `cursor-${name}.json`);
}

function positionIn(text: string): LogPosition | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  const { segment, offset, record, lost } = value;
  return isCount(segment) && isCount(offset) && isCount(record) && isCount(lost)
    ? { segment, offset, record, lost }
    : null;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

import { randomBytes } from 'node:crypto';
import { noMetrics, silentLogger, systemClock, type Logger, type Metrics } from '../../src/core/index.ts';
import { openRecordLog, type RecordLog, type RecordLogOptions } from '../../src/evidence/log/index.ts';
import {
  startSinks,
  type RunningSinks,
  type SinkSettings,
  type SinkStatus,
  type StartSinksOptions,
} from '../../src/evidence/sinks/index.ts';
import type { LogReceiver } from './log-receiver.ts';
import { recordLine, type LineParts } from './record-line.ts';
import { tempFolder, type TempFolder } from './temp-folder.ts';
import { waitUntil } from './wait-until.ts';

export const MIB = 2 ** 20;
export const LIMIT_MS = 20_000;

export interface SinkWorld extends AsyncDisposable {
  readonly log: RecordLog;
  readonly sinks: RunningSinks;
  readonly told: string[];
  readonly counted: Record<string, number>;
}

/** A log with sinks; `settings` makes them quick. */
export async function startSinkWorld(
  folder: string,
  settings: Partial<SinkSettings>,
  more: Partial<RecordLogOptions> & Partial<Pick<StartSinksOptions, 'write' | 'timeoutMs'>> = {},
): Promise<SinkWorld> {
  const counted: Record<string, number> = {};
  const told: string[] = [];
  const metrics: Metrics = {
    ...noMetrics,
    count(name, labels, by = 1) {
      const key = [name.replace('svidgate_decision_log_', ''), ...Object.values(labels)].join(' ');
      counted[key] = (counted[key] ?? 0) + by;
    },
  };
  const tell = (fields: { readonly reason?: string }, message: string): void =>
    void told.push(`${message}: ${fields.reason ?? ''}`);
  const logger: Logger = { ...silentLogger, warn: tell, error: tell };
  const parts = { clock: systemClock, logger, metrics };
  const log = await openRecordLog({ folder, maxBytes: 64 * MIB, ...parts, ...more });
  const write = more.write ?? (() => Promise.reject(new Error('not asked')));
  const { timeoutMs } = more;
  const limit = timeoutMs === undefined ? {} : { timeoutMs };
  const sinks = startSinks({ log, write, stdout: false, ...settings, ...parts, ...limit });
  return {
    log,
    sinks,
    told,
    counted,
    async [Symbol.asyncDispose]() {
      await sinks.stop(0);
      await log[Symbol.asyncDispose]();
    },
  };
}

export function opaOf(receiver: LogReceiver, more: object = {}): NonNullable<SinkSettings['opa']> {
  return { url: receiver.url, minDelayMs: 10, maxDelayMs: 20, uploadBytes: 32 * 1024, ...more };
}

export function ids(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `d${from + index}`);
}

export function lines(from: number, to: number, parts: LineParts = {}): string[] {
  return ids(from, to).map((id) => recordLine(id, parts));
}

export async function untilAll(receiver: LogReceiver, expected: readonly string[]): Promise<void> {
  await waitUntil(`${expected.length} records, of which ${receiver.ids.length} are there`, LIMIT_MS, () => {
    const there = new Set(receiver.ids);
    return expected.every((id) => there.has(id));
  });
}

/** How the sink fares once it knows that all was taken. */
export async function settled({ sinks }: SinkWorld): Promise<SinkStatus> {
  return await waitUntil('the sink to have no more to do', LIMIT_MS, () => {
    const [status] = sinks.status();
    return status !== undefined && status.lagRecords === 0 && status.failing === undefined ? status : undefined;
  });
}

/** Text that gzip cannot shorten much. */
export function noise(bytes: number): string {
  return randomBytes(bytes / 2).toString('hex');
}

export async function withFolder(work: (folder: TempFolder) => Promise<void>): Promise<void> {
  await using folder = await tempFolder();
  await work(folder);
}

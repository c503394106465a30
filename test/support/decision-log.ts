import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readRecords, type DecisionRecord } from '../../src/evidence/index.ts';
import type { CheckRequestInit } from '../../src/proto/index.ts';
import type { TestServer } from './server.ts';

/** What is in the decision log of a server. */
export interface Log {
  readonly records: readonly DecisionRecord[];
  readonly text: string;
  readonly losses: ReadonlyMap<string, { readonly records: number }>;
}

/** Ends the server first: then all is written. */
export async function logOf(server: TestServer): Promise<Log> {
  await server.running.stop('the log is read');
  const folder = join(server.folder, 'data', 'decisions');
  const reading = readRecords(folder);
  const records: DecisionRecord[] = [];
  for await (const record of reading) records.push(record);
  const files = (await readdir(folder)).filter((name) => name.endsWith('.jsonl'));
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  return { records, text: texts.join(''), losses: reading.counts.losses };
}

/** A check request. */
export const get = (path: string, headers: Readonly<Record<string, string>> = {}): CheckRequestInit => ({
  attributes: { request: { http: { method: 'GET', host: 'orders.test', path, headers } } },
});

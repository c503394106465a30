/** A source that is followed on a clock of the test, from a place that answers as the test wants. */
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'node:test';
import { silentLogger, SvidgateError, type LogFields, type Logger } from '../../../../src/core/index.ts';
import { createKeptBundleFiles } from '../../../../src/datastore/index.ts';
import type { BundleAnswer, BundleFetcher, BundleRequest } from '../../../../src/policy/download/bundle-fetcher.ts';
import type { KeptBundles } from '../../../../src/policy/download/kept-bundle.ts';
import type { PartReader } from '../../../../src/policy/download/part-reader.ts';
import { createRemoteSource, type RemoteSource } from '../../../../src/policy/download/remote-source.ts';
import type { PolicySnapshot } from '../../../../src/policy/index.ts';
import { tempFolder, type TempFolder } from '../../../support/temp-folder.ts';
import { createTestClock, type TestClock } from '../../../support/test-clock.ts';
import { waitUntil } from '../../../support/wait-until.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Bundles of the test: `bad…` is refused, `+x` adds x to what is there, `FROM+x` to that alone. */
export function readerOf(
  options: { readonly verifies?: boolean; readonly isTrusted?: () => boolean } = {},
): PartReader {
  const { verifies = false, isTrusted = () => true } = options;
  return {
    verifies,
    read(bytes, { base }) {
      const content = new TextDecoder().decode(bytes);
      const refuse = (message: string): Promise<never> => Promise.reject(new SvidgateError('policy_invalid', message));
      if (!isTrusted()) return refuse('nobody signed it');
      if (content.startsWith('bad')) return refuse(`${content} is no bundle`);
      const [, from, more] = /^(.*)\+(.*)$/.exec(content) ?? [];
      const before = base === undefined ? undefined : contentOf(base);
      if (more === undefined) return Promise.resolve({ snapshot: snapshotOf(content), isDelta: false });
      if (before === undefined || (from !== '' && from !== before)) return refuse('a change of something else');
      return Promise.resolve({ snapshot: snapshotOf(`${before}${more}`), isDelta: true });
    },
  };
}

function snapshotOf(content: string): PolicySnapshot {
  return { files: { modules: { 'a.rego': content }, data: {} }, tests: {}, digest: hash('sha256', content) };
}

function contentOf({ files }: PolicySnapshot): string | undefined {
  return files.modules['a.rego'];
}

export type Step = Partial<Extract<BundleAnswer, { readonly kind: 'bundle' }>> & { readonly text: string };

/** What it answers next: a bundle, `unchanged`, a failure, or nothing until it is told. */
export type Script = Given | Promise<Given>;

export type Given = Step | 'unchanged' | 'away';

interface Place extends BundleFetcher {
  readonly asked: (Omit<BundleRequest, 'signal'> & { readonly at: number })[];
  next: Script;
  /** Called at each question. */
  beforeAnswer: () => void;
}

function placeOf(clock: TestClock): Place {
  const place: Place = {
    kind: 'http',
    description: 'https://bundles.test/b',
    place: 'https://bundles.test/b?key=1',
    asked: [],
    next: 'away',
    beforeAnswer: () => undefined,
    async fetch({ signal, ...request }) {
      place.asked.push({ ...request, at: clock.now() });
      place.beforeAnswer();
      const answer = await Promise.race([
        place.next,
        new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      ]);
      if (answer === 'unchanged') return { kind: 'unchanged' };
      if (answer === 'away') throw new SvidgateError('policy_source_failed', 'it is away');
      return { kind: 'bundle', bytes: text(answer.text), canWait: false, ...answer };
    },
  };
  return place;
}

export const POLL_MS = 60_000;

export interface Stage extends AsyncDisposable {
  readonly source: RemoteSource;
  readonly place: Place;
  readonly clock: TestClock;
  readonly metrics: Map<string, number>;
  readonly lines: (LogFields & { readonly message: string })[];
  /** What the engine reads at each hint: a text, or the error's message. The last one stands last. */
  readonly seen: string[];
}

export interface StageOptions {
  readonly reader?: PartReader;
  readonly longPollMs?: number;
  readonly kept?: KeptBundles;
  readonly clock?: TestClock;
  /** What the first question gets. */
  readonly first: Script;
  /** Whether what is read comes into force. Default true. */
  readonly activates?: boolean;
}

/** Stages of one file, on one data directory, which a test empties by a new one. */
export interface Stages {
  /** Follows a place as the engine does. */
  readonly follow: (options: StageOptions) => Stage;
  readonly store: () => KeptBundles;
  /** What is kept of the policy. */
  readonly keptFile: () => string;
}

/** To be called once in a file. */
export function stages(): Stages {
  let folder: TempFolder;
  const open = new Set<Stage>();
  beforeEach(async () => {
    folder = await tempFolder();
  });
  afterEach(async () => {
    for (const each of open) await each[Symbol.asyncDispose]();
    open.clear();
    await folder[Symbol.asyncDispose]();
  });
  const store = (): KeptBundles =>
    createKeptBundleFiles({ path: folder.path, close: () => Promise.resolve() }, { policies: ['default'] });
  return {
    store,
    keptFile: () => join(folder.path, 'bundles/default'),
    follow(options) {
      const stage = follow({ kept: store(), ...options });
      open.add(stage);
      return stage;
    },
  };
}

/** Follows it as the engine does. */
function follow(options: StageOptions & { readonly kept: KeptBundles }): Stage {
  const { reader = readerOf(), longPollMs = 0, kept, clock = createTestClock(), activates = true } = options;
  const place = placeOf(clock);
  place.next = options.first;
  const lines: Stage['lines'] = [];
  const record = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
  const logger: Logger = { ...silentLogger, info: record, warn: record, child: () => logger };
  const metrics = new Map<string, number>();
  const source = createRemoteSource({
    policy: 'default',
    fetcher: place,
    reader,
    kept,
    intervalMs: POLL_MS,
    longPollMs,
    clock,
    logger,
    metrics: {
      count: (name, labels, by = 1) => {
        const key = [name, ...Object.values(labels)].join(' ');
        metrics.set(key, (metrics.get(key) ?? 0) + by);
      },
      gauge: (name, _labels, value) => void metrics.set(name, value),
      observe: () => undefined,
    },
    random: () => 0.5,
  });
  const stop = new AbortController();
  const seen: string[] = [];
  const read = async (): Promise<void> => {
    try {
      const snapshot = await source.read(stop.signal);
      seen.push(contentOf(snapshot) ?? '');
      if (activates) source.inForce(snapshot.digest);
    } catch (error) {
      if (!stop.signal.aborted) seen.push(`! ${SvidgateError.from(error).message}`);
    }
  };
  const running = (async () => {
    await read();
    for await (const _ of source.changes(stop.signal)) await read();
  })();
  return {
    source,
    place,
    clock,
    metrics,
    lines,
    seen,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

/** Real files take real time: waits until the source sleeps until its next question, and all is written. */
export async function settled({ clock, place }: Stage, questions: number): Promise<void> {
  await waitUntil(`${questions} questions`, 5000, async () => {
    await clock.advance(0);
    return place.asked.length >= questions && clock.sleeping === 1;
  });
}

export async function after(stage: Stage, ms: number, questions: number): Promise<void> {
  await stage.clock.advance(ms);
  await settled(stage, questions);
}

import { describeError, type Clock, type Logger } from '../core/index.ts';
import type { Evaluation } from './evaluation.ts';
import type { PolicyLoader } from './policy-loader.ts';
import type { PolicySnapshot } from './snapshot-source.ts';

/** `data.system.log` of a policy: what it says about the log of its own decisions, as OPA has it. */
export interface LogRules {
  /** On an event of the log as JSON text in UTF-8: an object with `mask` and `drop`, as far as there are such rules. Never rejects. */
  evaluate(event: Uint8Array): Promise<Evaluation>;
  close(): Promise<void>;
}

/** The package as an entrypoint: an object of its rules. */
export const LOG_RULES_ENTRYPOINT = 'system/log';
/** Nobody waits for it but the record. */
const LIMIT_MS = 5000;
/** The package clause, which comes first but for comments. */
const PACKAGE = /^(?:\s|#[^\n]*(?:\n|$))*package\s+system(?:\.log|\["log"\])(?![\w.[])/;

/** A loader that loads the log rules of each policy with it. Rules that cannot be loaded are rules that fail. */
export function withLogRules(
  loader: PolicyLoader,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): PolicyLoader {
  return {
    async load(snapshot, entrypoint, signal) {
      const loaded = await loader.load(snapshot, entrypoint, signal);
      if (loaded.kind === 'loaded' && hasLogRules(snapshot)) {
        loaded.evaluator.logRules = await start(loader, { snapshot, signal, clock, logger });
      }
      return loaded;
    },
  };
}

function hasLogRules({ files }: PolicySnapshot): boolean {
  return Object.values(files.modules).some((text) => PACKAGE.test(text));
}

async function start(
  loader: PolicyLoader,
  about: {
    readonly snapshot: PolicySnapshot;
    readonly signal: AbortSignal;
    readonly clock: Clock;
    readonly logger: Logger;
  },
): Promise<LogRules> {
  const { snapshot, signal, clock, logger } = about;
  try {
    // A module that came compiled has its own entrypoints only.
    const { wasm: _, ...files } = snapshot;
    const loaded = await loader.load(files, LOG_RULES_ENTRYPOINT, signal);
    if (loaded.kind === 'refused') throw new Error(loaded.problems.map(({ message }) => message).join('; '));
    await loaded.keep();
    const { evaluator } = loaded;
    return {
      evaluate: (event) => evaluator.evaluate(event, { deadline: clock.now() + LIMIT_MS }),
      close: () => evaluator.close(),
    };
  } catch (error) {
    signal.throwIfAborted();
    const reason = describeError(error);
    logger.warn({ reason }, 'log rules of a policy not loaded: its records have neither input nor result');
    return { evaluate: () => Promise.resolve({ kind: 'error', message: reason }), close: () => Promise.resolve() };
  }
}

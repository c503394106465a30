import { pino } from 'pino';
import { LOG_FIELD_NAMES, type LogFields, type Logger } from '../core/index.ts';
import { redact } from './redaction.ts';
import { openStandardOutput, type LineSink } from './standard-output.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  /** Lines below it are not written. */
  readonly level: LogLevel;
  /** Default: standard output, written before the call returns as long as somebody reads it. */
  readonly destination?: LineSink;
}

/** The longest text in a line, in UTF-16 units; the rest is cut and shown as `…`. */
export const MAX_TEXT_LENGTH = 512;

/** The longest list in a line; the last item then says how many more there were. */
export const MAX_LIST_LENGTH = 32;

type Bindings = Readonly<Record<string, string | number | readonly string[]>>;

const FIELD_NAMES: ReadonlySet<string> = new Set(LOG_FIELD_NAMES);

/**
 * JSON lines with `time` (ISO 8601, UTC), `level`, `msg` and the fields of LogFields; a field that is not among them is
 * dropped, and so is a value that is not a text, a number or a list of texts.
 */
export function createLogger(options: LoggerOptions): Logger {
  const destination = options.destination ?? openStandardOutput();
  const writer = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return loggerWith(writer, {});
}

function loggerWith(writer: pino.Logger, bindings: Bindings): Logger {
  const method =
    (level: LogLevel) =>
    (fields: LogFields, message: string): void => {
      // Merged here and not by pino's own child, which writes a key twice when a line repeats it.
      if (writer.isLevelEnabled(level)) writer[level]({ ...bindings, ...cleanFields(fields) }, cleanText(message));
    };
  return {
    debug: method('debug'),
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
    child: (fields) => loggerWith(writer, { ...bindings, ...cleanFields(fields) }),
  };
}

function cleanFields(fields: LogFields): Bindings {
  const clean: Record<string, string | number | readonly string[]> = {};
  for (const [name, value] of Object.entries(fields) as [string, unknown][]) {
    if (!FIELD_NAMES.has(name)) continue;
    if (typeof value === 'string') clean[name] = cleanText(value);
    else if (typeof value === 'number') clean[name] = value;
    else if (Array.isArray(value)) clean[name] = cleanList(value);
  }
  return clean;
}

function cleanList(list: readonly unknown[]): readonly string[] {
  const kept = list.slice(0, MAX_LIST_LENGTH).filter((item) => typeof item === 'string');
  const more = list.length - MAX_LIST_LENGTH;
  return more > 0 ? [...kept.map(cleanText), `… ${more} more`] : kept.map(cleanText);
}

function cleanText(text: string): string {
  const isLong = text.length > MAX_TEXT_LENGTH;
  const redacted = redact(isLong ? text.slice(0, MAX_TEXT_LENGTH) : text);
  return isLong ? `${redacted}…` : redacted;
}

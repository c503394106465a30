import { describeError, SvidgateError, type AuditLog, type Clock, type Logger, type Metrics } from '../core/index.ts';
import { AuditFile } from './audit-file.ts';
import { formatAuditLine } from './audit-log-line.ts';

export interface AuditLogOptions {
  /** Absolute path. Its folder is made when it is missing, with mode 0700. */
  readonly file: string;
  /** The file is rotated before it grows beyond this. */
  readonly maxBytes: number;
  /** How many rotated files are kept, as FILE.1 (the newest) to FILE.n; at least 1. */
  readonly maxFiles: number;
  /** Whether what cannot be accounted for must not happen. */
  readonly required: boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

export interface OpenAuditLog extends AuditLog {
  /** Whether the last event could be written. */
  readonly state: 'writing' | 'failing';
  /** Puts the file on disk and closes it. Later events fail. */
  close(): Promise<void>;
}

/** Between two log lines that say the same. */
const COMPLAINT_MS = 60_000;

/**
 * The audit log in a file: one JSON line for each event (docs/reference/audit-log.md). A line is handed to the kernel
 * before `record` returns, so it survives the end of the process, though not always a power cut; that takes about 20 µs.
 * Throws `audit_failed` when the file cannot be opened and `required` is set; otherwise opening is tried again with each
 * event.
 */
export function createAuditLog(options: AuditLogOptions): OpenAuditLog {
  const { required, logger, metrics, clock } = options;
  const file = new AuditFile(options);
  const complaints = new Map<string, number>();
  const complain = (message: string, error: unknown): void => {
    const now = clock.now();
    const last = complaints.get(message);
    // A clock that was set back must not silence it.
    if (last !== undefined && now >= last && now - last < COMPLAINT_MS) return;
    complaints.set(message, now);
    logger.error({ file: options.file, error_code: 'audit_failed', reason: describeError(error) }, message);
  };
  let state: OpenAuditLog['state'] = 'writing';
  const attempt = (work: () => void): void => {
    try {
      work();
      state = 'writing';
    } catch (error) {
      state = 'failing';
      metrics.count('svidgate_audit_failures_total', {});
      complain('audit log cannot be written', error);
      if (required) throw new SvidgateError('audit_failed', 'the audit log cannot be written', { cause: error });
    }
  };
  attempt(() => file.open());
  return {
    get state() {
      return state;
    },
    record: (event) =>
      attempt(() => {
        const problem = file.append(formatAuditLine(event, clock.now()));
        if (problem !== undefined) complain('audit log cannot be rotated', problem);
      }),
    close: () => file.close(),
  };
}

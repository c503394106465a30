import type { MessagePort } from 'node:worker_threads';
import type { LogFields, Logger, Metrics } from '../../core/index.ts';
import type { FromRecordThread } from './record-protocol.ts';

/** A logger and metrics for a thread that has none: the thread that started it has. */
export function remoteTelemetry(port: MessagePort): { readonly logger: Logger; readonly metrics: Metrics } {
  const post = (message: FromRecordThread): void => port.postMessage(message);
  const loggerWith = (own: LogFields): Logger => {
    const at =
      (level: 'debug' | 'info' | 'warn' | 'error') =>
      (fields: LogFields, message: string): void =>
        post({ kind: 'log', level, fields: { ...own, ...fields }, message });
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: (fields) => loggerWith({ ...own, ...fields }),
    };
  };
  const metric =
    (method: keyof Metrics) =>
    (...values: readonly unknown[]): void =>
      post({ kind: 'metric', method, values });
  return {
    logger: loggerWith({}),
    metrics: { count: metric('count'), gauge: metric('gauge'), observe: metric('observe') },
  };
}

/** The other end. */
export function deliverTelemetry(
  message: Extract<FromRecordThread, { readonly kind: 'log' | 'metric' }>,
  { logger, metrics }: { readonly logger: Logger; readonly metrics: Metrics },
): void {
  if (message.kind === 'log') logger[message.level](message.fields, message.message);
  else (metrics[message.method] as (...values: readonly unknown[]) => void)(...message.values);
}

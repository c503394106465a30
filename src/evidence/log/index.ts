/** Decision records on disk: written by one thread, read by sinks and by tools. */
export type { LossLine } from './log-line.ts';
export {
  readRecords,
  type ReadCounts,
  type ReadProgress,
  type ReadRecordsOptions,
  type RecordReading,
} from './read-records.ts';
export { recordedText } from './recorded-text.ts';
export type { RecordCursor, RecordLog, RecordLogOptions, RecordLogStatus } from './record-log.ts';

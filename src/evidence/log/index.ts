/** Decision records on disk: written by one thread, read by sinks and by tools. */
export type { LossLine } from './log-line.ts';
export { openRecordLog } from './open-record-log.ts';
export {
  readRecords,
  type ReadCounts,
  type ReadProgress,
  type ReadRecordsOptions,
  type RecordReading,
} from './read-records.ts';
export { recordedText } from './recorded-text.ts';
export type {
  LossReason,
  RecordCursor,
  RecordLine,
  RecordLog,
  RecordLogOptions,
  RecordLogStatus,
} from './record-log.ts';

/** Who gets the decision records beside the disk. */
export type { SinkStatus } from './sink.ts';
export { startSinks, type RunningSinks, type SinkSettings, type StartSinksOptions } from './start-sinks.ts';
export type { WriteOut } from './stdout-sink.ts';

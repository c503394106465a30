/**
 * cli: the commands of `svidgate`.
 * Promises: exit code 0 done, 1 failed, 2 wrong usage or configuration; results on standard output, complaints on
 * standard error; a command loads only what it needs. Must not know how anything is done: commands call rooms.
 */
export { EXIT, runCli, type ExitCode } from './run-cli.ts';
export type { Terminal } from './terminal.ts';

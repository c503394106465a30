/** The program: started by bin/svidgate.mjs. */
import { EXIT, runCli } from './run-cli.ts';
import { processTerminal } from './terminal.ts';

// `svidgate … | head` closes the pipe early; that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed);
});

process.exitCode = await runCli(process.argv.slice(2), processTerminal);

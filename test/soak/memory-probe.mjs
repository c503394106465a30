/** Loaded into the server of a soak: at SIGUSR2 it collects its garbage and writes what memory is left to a file. */
import { renameSync, writeFileSync } from 'node:fs';

const file = process.env['SVIDGATE_MEMORY_FILE'] ?? '';

process.on('SIGUSR2', () => {
  // The second one takes what the finalizers of the first let go.
  globalThis.gc?.();
  globalThis.gc?.();
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()));
  renameSync(`${file}.new`, file);
});

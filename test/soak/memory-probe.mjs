/**
 * Loaded into the server of a soak: at SIGUSR2 it collects its garbage, gives back what the allocator keeps for later, which
 * goes up and down by 100 MB, and writes what memory is left to a file.
 */
import { renameSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';

const file = process.env['SVIDGATE_MEMORY_FILE'] ?? '';
const giveBack = koffi.load('libc.so.6').func('int malloc_trim(size_t)');

process.on('SIGUSR2', () => {
  // The second one takes what the finalizers of the first let go.
  globalThis.gc?.();
  globalThis.gc?.();
  giveBack(0);
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()));
  renameSync(`${file}.new`, file);
});

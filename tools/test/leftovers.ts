/**
 * Loaded into every test file's process: one that goes on after its last test has left something running, and would hold
 * the whole run up for ever. It is ended as failed, and says what was still open.
 */
import { after } from 'node:test';

const patienceMs = Number(process.env['SVIDGATE_TEST_PATIENCE_MS'] ?? 20_000);

if (process.env['NODE_TEST_CONTEXT'] === 'child-v8') {
  after(() => {
    setTimeout(() => {
      console.error(
        `${process.argv[1]} still runs after its last test: ${process.getActiveResourcesInfo().join(', ')}`,
      );
      process.exit(1);
    }, patienceMs).unref();
  });
}

/**
 * `npm run setup`: everything that the project needs and a clone does not have, inside the clone. Exit code 0 done,
 * 1 failed, 2 something is missing on this machine.
 */
import { requirePrerequisites } from './prerequisites.mjs';

requirePrerequisites();
const { setUpOrExit } = await import('./set-up-or-exit.mjs');
await setUpOrExit({ tests: true });

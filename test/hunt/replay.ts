/** `node test/hunt/replay.ts CASE [MOMENT]`: asks one case of the hunt again, and says what is wrong with its answer. */
import { tempFolder } from '../support/temp-folder.ts';
import type { Case } from './case.ts';
import { askAgain } from './hunt.ts';
import { changeTo, type Moment } from './timeline.ts';
import { createWorld } from './world.ts';

const [text = '', moment] = process.argv.slice(2);
await using folder = await tempFolder();
await using world = await createWorld(folder.path);
if (moment !== undefined) await world.change(changeTo(JSON.parse(moment) as Moment));
const failure = await askAgain(JSON.parse(text) as Case, world);
console.log(failure === undefined ? 'its answer is right' : `${failure.what}: ${failure.why}`);
process.exitCode = failure === undefined ? 0 : 1;

/** `node test/offload/hunt/replay.ts CASE`: asks about one request of the hunt again, and says what is wrong with its rule. */
import { tempFolder } from '../../support/temp-folder.ts';
import type { Draw } from './draw.ts';
import { askAgain, type MomentName } from './hunt.ts';
import { allPolicies, createWorkshop, findPolicy, joinedPolicies, report } from './run-hunt.ts';
import { createStage } from './stage.ts';

const [text = ''] = process.argv.slice(2);
const asked = JSON.parse(text) as { readonly policy: string; readonly moment: MomentName; readonly draw: Draw };
await using folder = await tempFolder();
await using stage = await createStage(folder.path);
const policy = findPolicy(asked.policy, [...(await allPolicies()), ...(await joinedPolicies())]);
await using prepared = await createWorkshop(stage.gate).prepare(policy);
const failure = await askAgain(asked, { prepared, stage, options: {} });
console.log(failure === undefined ? 'what Envoy does with it is right' : await report([failure], { prepared, stage }));
process.exitCode = failure === undefined ? 0 : 1;

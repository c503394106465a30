/** A short hunt for an unsound rule, and faults that are planted: the hunt has to find each. `npm run prove` has the long one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tempFolder } from '../../support/temp-folder.ts';
import { FAULTS } from './faults.ts';
import { hunt, NOTHING, sum, type Prepared } from './hunt.ts';
import { createWorkshop, focusedOn, joinedPolicies, report } from './run-hunt.ts';
import { createStage } from './stage.ts';

const SEED = 20_261_122;
/** To each policy. */
const REQUESTS = 1200;
/** Until a fault is found. */
const PATIENCE = 5000;

test('the hunt for a rule that allows what the gate denies', async (t) => {
  await using folder = await tempFolder();
  await using stage = await createStage(folder.path);
  await using open = new AsyncDisposableStack();
  const workshop = createWorkshop(stage.gate);
  const prepared: Prepared[] = [];
  for (const policy of await joinedPolicies()) prepared.push(open.use(await workshop.prepare(policy)));

  await t.test('finds none', async () => {
    let total = NOTHING;
    for (const each of prepared) {
      const figures = await hunt(each, stage, { seed: SEED, requests: REQUESTS, maxFailures: 1 });
      const text = figures.failures.length === 0 ? '' : await report(figures.failures, { prepared: each, stage });
      assert.equal(figures.failures.length, 0, text);
      assert.ok(figures.offloaded > 0, `${each.policy.name} leaves all to the gate`);
      total = sum(total, figures);
    }
    // Or else nothing was tried.
    assert.ok(total.allowed > total.checks * 0.3, `${total.allowed} of ${total.checks} allowed`);
    assert.ok(total.offloaded > total.checks * 0.2, `${total.offloaded} of ${total.checks} offloaded`);
    assert.ok(total.refused > 0, 'none is refused by Envoy');
  });

  for (const fault of FAULTS) {
    await t.test(`finds: ${fault.name}`, async () => {
      const whole = prepared.find(({ policy }) =>
        policy.aims.some(({ headers = [] }) => headers[0]?.[1] === `[${fault.shownBy}]`),
      );
      assert.ok(whole, fault.shownBy);
      const policy = focusedOn(whole.policy, fault.shownBy);
      const translated = await workshop.translate(policy, fault);
      const { spoil = {}, moment = 'plain' } = fault;
      const options = { seed: SEED, requests: PATIENCE, moments: [moment], maxFailures: 1, spoil };
      const { failures } = await hunt({ ...whole, policy, translated }, stage, options);
      assert.ok(failures.length > 0);
    });
  }
});

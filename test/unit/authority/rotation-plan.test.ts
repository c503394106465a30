import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  activateAt,
  afterStep,
  assertAllowed,
  nextStep,
  nextStepAt,
  prepareAt,
  pruneAt,
  type ManualStep,
  type PlannedSlot,
  type RotationMoment,
  type RotationThresholds,
} from '../../../src/authority/rotation-plan.ts';
import type { AuthorityState } from '../../../src/authority/slot.ts';

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const BACKDATE = 10_000;

function slotOf(state: AuthorityState, fields: Partial<PlannedSlot> = {}): PlannedSlot {
  const times = { notBefore: -BACKDATE, notAfter: DAY };
  return { id: state, kind: 'x509', state, activationRequested: false, ...times, ...fields };
}

function momentAt(now: number, fields: Partial<RotationMoment> = {}): RotationMoment {
  return { now, thresholds: {}, isKeyLost: () => false, mustWait: () => false, ...fields };
}

const thresholds: readonly {
  readonly name: string;
  readonly life: number;
  readonly given: RotationThresholds;
  readonly prepare: number;
  readonly activate: number;
}[] = [
  { name: 'a day', life: DAY, given: {}, prepare: 12 * HOUR, activate: 4 * HOUR },
  { name: 'a year', life: 365 * DAY, given: {}, prepare: 30 * DAY, activate: 7 * DAY },
  {
    name: 'a day, its own',
    life: DAY,
    given: { prepareBeforeMs: 20 * HOUR, activateBeforeMs: HOUR },
    prepare: 20 * HOUR,
    activate: HOUR,
  },
  { name: 'only the first', life: DAY, given: { prepareBeforeMs: 6 * HOUR }, prepare: 6 * HOUR, activate: 2 * HOUR },
  {
    name: 'both the same',
    life: DAY,
    given: { prepareBeforeMs: HOUR, activateBeforeMs: HOUR },
    prepare: HOUR,
    activate: HOUR,
  },
  {
    name: 'longer than the life',
    life: HOUR,
    given: { prepareBeforeMs: 2 * HOUR, activateBeforeMs: 2 * HOUR },
    prepare: HOUR / 2,
    activate: HOUR / 6,
  },
];

for (const { name, life, given, prepare, activate } of thresholds) {
  test(`thresholds of ${name}: published and signing so long before the end`, () => {
    const active = slotOf('active', { notAfter: life });
    assert.equal(life - prepareAt(active, given), prepare);
    assert.equal(life - activateAt(active, given), activate);
  });
}

const steps: readonly {
  readonly name: string;
  readonly slots: readonly PlannedSlot[];
  readonly moment: RotationMoment;
  readonly expected: ReturnType<typeof nextStep>;
}[] = [
  { name: 'nothing is there', slots: [], moment: momentAt(0), expected: { kind: 'prepare' } },
  { name: 'it is too early', slots: [slotOf('active')], moment: momentAt(12 * HOUR - 1), expected: undefined },
  {
    name: 'half of the life is over',
    slots: [slotOf('active')],
    moment: momentAt(12 * HOUR),
    expected: { kind: 'prepare' },
  },
  {
    name: 'only a prepared one is there',
    slots: [slotOf('prepared')],
    moment: momentAt(0, { mustWait: () => true }),
    expected: { kind: 'activate', id: 'prepared' },
  },
  {
    name: 'a sixth is left',
    slots: [slotOf('active'), slotOf('prepared')],
    moment: momentAt(20 * HOUR),
    expected: { kind: 'activate', id: 'prepared' },
  },
  {
    name: 'a sixth is left, and Envoys do not know it',
    slots: [slotOf('active'), slotOf('prepared')],
    moment: momentAt(20 * HOUR, { mustWait: () => true }),
    expected: undefined,
  },
  {
    name: 'Envoys do not know it, and half of the time to wait is over',
    slots: [slotOf('active'), slotOf('prepared', { notAfter: 2 * DAY })],
    moment: momentAt(22 * HOUR, { mustWait: () => true }),
    expected: { kind: 'activate', id: 'prepared' },
  },
  {
    name: 'an operator asked for it',
    slots: [slotOf('active'), slotOf('prepared', { activationRequested: true })],
    moment: momentAt(0),
    expected: { kind: 'activate', id: 'prepared' },
  },
  {
    name: 'the prepared one has ended',
    slots: [slotOf('active', { notAfter: 2 * DAY }), slotOf('prepared')],
    moment: momentAt(DAY),
    expected: { kind: 'prune', id: 'prepared' },
  },
  {
    name: 'the prepared one has lost its key',
    slots: [slotOf('active'), slotOf('prepared')],
    moment: momentAt(0, { isKeyLost: ({ id }) => id === 'prepared' }),
    expected: { kind: 'prune', id: 'prepared' },
  },
  {
    name: 'the active one has lost its key',
    slots: [slotOf('active')],
    moment: momentAt(0, { isKeyLost: () => true }),
    expected: { kind: 'prepare' },
  },
  {
    name: 'an old one ended a day ago',
    slots: [slotOf('active', { notAfter: 9 * DAY }), slotOf('old')],
    moment: momentAt(2 * DAY),
    expected: { kind: 'prune', id: 'old' },
  },
  {
    name: 'an old one ended just now',
    slots: [slotOf('active', { notAfter: 9 * DAY }), slotOf('old')],
    moment: momentAt(2 * DAY - 1),
    expected: undefined,
  },
  {
    name: 'a revoked one ended a day ago',
    slots: [slotOf('active', { notAfter: 9 * DAY }), slotOf('revoked')],
    moment: momentAt(2 * DAY),
    expected: { kind: 'prune', id: 'revoked' },
  },
];

for (const { name, slots, moment, expected } of steps) {
  test(`when ${name}, the next step is ${expected?.kind ?? 'none'}`, () => {
    assert.deepEqual(nextStep(slots, moment), expected);
  });
}

const MANUAL: Readonly<Record<ManualStep['kind'], readonly AuthorityState[]>> = {
  request_activation: ['prepared'],
  taint: ['old'],
  revoke: ['tainted'],
};

for (const [kind, allowed] of Object.entries(MANUAL) as [ManualStep['kind'], readonly AuthorityState[]][]) {
  for (const state of ['prepared', 'active', 'old', 'tainted', 'revoked'] as const) {
    test(`${kind} of one that is ${state} is ${allowed.includes(state) ? 'allowed' : 'a conflict that says why'}`, () => {
      const ask = (): void => assertAllowed([slotOf(state)], { kind, id: state }, 0);
      if (allowed.includes(state)) ask();
      else assert.throws(ask, { code: 'conflict', message: new RegExp(`^x509 authority ${state} is ${state}: .`) });
    });
  }
}

test('one that is not there is not found, and an old one that has ended may be revoked untainted', () => {
  assert.throws(() => assertAllowed([], { kind: 'taint', id: 'x' }, 0), { code: 'not_found' });
  assertAllowed([slotOf('old')], { kind: 'revoke', id: 'old' }, DAY);
});

const drawnSlot = fc.record({
  state: fc.constantFrom(
    'prepared' as const,
    'active' as const,
    'old' as const,
    'tainted' as const,
    'revoked' as const,
  ),
  notBefore: fc.integer({ min: 0, max: 1000 * HOUR }),
  life: fc.integer({ min: HOUR, max: 100 * HOUR }),
  activationRequested: fc.boolean(),
  isLost: fc.boolean(),
});
const drawnThresholds = fc.record({
  prepareBeforeMs: fc.option(fc.integer({ min: 0, max: 200 * HOUR }), { nil: undefined }),
  activateBeforeMs: fc.option(fc.integer({ min: 0, max: 200 * HOUR }), { nil: undefined }),
});

test('whatever the slots, thresholds and time, the due steps end with one active authority that lives and signs', () => {
  fc.assert(
    fc.property(
      fc.array(drawnSlot, { maxLength: 6 }),
      drawnThresholds,
      fc.integer({ min: 0, max: 2000 * HOUR }),
      (drawn, given, now) => {
        const lost = new Set<string>();
        const taken = new Set<string>();
        let slots: readonly PlannedSlot[] = drawn.flatMap(({ life, isLost, ...rest }, index) => {
          const isOne = rest.state === 'active' || rest.state === 'prepared';
          if (isOne && taken.has(rest.state)) return [];
          taken.add(rest.state);
          if (isLost) lost.add(String(index));
          return [{ ...rest, id: String(index), kind: 'x509' as const, notAfter: rest.notBefore + life }];
        });
        const moment = momentAt(now, { thresholds: given, isKeyLost: ({ id }) => lost.has(id) });
        for (let count = 0; ; count += 1) {
          assert.ok(count < 30, 'the steps come to an end');
          const step = nextStep(slots, moment);
          if (step === undefined) break;
          if (step.kind === 'prepare') {
            assert.ok(!slots.some(({ state }) => state === 'prepared'));
            slots = [
              ...slots,
              slotOf('prepared', { id: `new${count}`, notBefore: now - BACKDATE, notAfter: now + DAY }),
            ];
            continue;
          }
          if (step.kind === 'prune') {
            const slot = slots.find(({ id }) => id === step.id)!;
            assert.ok(slot.state === 'prepared' || now >= pruneAt(slot), 'nothing that may have signed goes early');
          }
          slots = afterStep(slots, step);
        }
        const [active, ...others] = slots.filter(({ state }) => state === 'active');
        assert.equal(others.length, 0);
        assert.ok(active !== undefined && active.notBefore <= now && now < active.notAfter && !lost.has(active.id));
        assert.ok(nextStepAt(slots, given, now) > now);
      },
    ),
  );
});

test('no step changes another authority, but for the one that it takes the place of', () => {
  const kinds = ['request_activation', 'taint', 'revoke', 'prune', 'activate'] as const;
  for (const kind of kinds) {
    const slots = [slotOf('old'), slotOf('active'), slotOf('prepared'), slotOf('active', { id: 'jwt', kind: 'jwt' })];
    const after = afterStep(slots, { kind, id: 'prepared' });
    const changed = slots.filter((slot) => !after.includes(slot)).map(({ id }) => id);
    assert.deepEqual(changed, kind === 'activate' ? ['active', 'prepared'] : ['prepared']);
  }
});

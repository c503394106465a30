import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PolicyEvent } from '../../../../src/policy/index.ts';
import { checkSigner, eventsToGoBackTo, rollbackTarget } from '../../../../src/policy/activation/rollback-target.ts';
import type { PolicySnapshot, SnapshotSource } from '../../../../src/policy/snapshot-source.ts';

/** `activated d1` */
function eventsOf(...texts: readonly string[]): readonly PolicyEvent[] {
  return texts.map((text, at) => {
    const [kind = '', digest] = text.split(' ');
    const event = { policy: 'p', kind: kind as PolicyEvent['kind'], at, source: 's', entrypoint: 'e', by: 'source' };
    return digest === undefined ? event : { ...event, digest };
  });
}

const D1 = '1111aaaa';
const D2 = '2222bbbb';
const D3 = '2222cccc';
const ALL = eventsOf(`activated ${D1}`, `activated ${D2}`, 'refused dead0000', 'refused', `activated ${D3}`);

describe('a rollback without a digest goes', () => {
  const cases: readonly (readonly [
    what: string,
    events: readonly PolicyEvent[],
    inForce: string | undefined,
    target: string,
  ])[] = [
    ['to what was in force before', ALL, D3, D2],
    ['further back each time', [...ALL, ...eventsOf(`rolled_back ${D2}`)], D2, D1],
    ['past the same state twice', eventsOf(`activated ${D1}`, `activated ${D2}`, `activated ${D2}`), D2, D1],
    ['to the last one when nothing is in force', ALL, undefined, D3],
    ['back from a state that came again', eventsOf(`activated ${D1}`, `activated ${D2}`, `activated ${D1}`), D1, D2],
  ];
  for (const [what, events, inForce, target] of cases) {
    test(what, () => {
      assert.equal(rollbackTarget(events, inForce, undefined), target);
    });
  }

  test('nowhere when nothing was in force before', () => {
    for (const events of [[], eventsOf('refused dead0000'), eventsOf(`activated ${D1}`)]) {
      const inForce = events.at(-1)?.kind === 'activated' ? D1 : undefined;
      assert.throws(() => rollbackTarget(events, inForce, undefined), { code: 'not_found' });
    }
  });
});

describe('a rollback to a digest', () => {
  test('takes the beginning of one that was in force, in any case of letters', () => {
    assert.equal(rollbackTarget(ALL, D3, '1111'), D1);
    assert.equal(rollbackTarget(ALL, D3, '2222BB'), D2);
  });

  const wrong: readonly (readonly [digest: string, code: string])[] = [
    ['2222', 'conflict'], // two of them
    ['2222cc', 'conflict'], // in force
    ['111', 'not_found'], // too short to be meant
    ['dead', 'not_found'], // was refused
    ['9999', 'not_found'],
  ];
  for (const [digest, code] of wrong) {
    test(`refuses ${digest} as ${code}`, () => {
      assert.throws(() => rollbackTarget(ALL, D3, digest), { code });
    });
  }
});

/** A source that takes what these keys signed: `NAME DIGEST`. */
function sourceOf(description: string, ...keys: readonly string[]): SnapshotSource {
  const signers = keys.map((key) => {
    const [name = '', verifiedBy = ''] = key.split(' ');
    return { name, verifiedBy };
  });
  const plain = { description, read: () => Promise.reject(new Error('unused')), changes: async function* () {} };
  return keys.length === 0 ? plain : { ...plain, verifies: true, signers: () => Promise.resolve(signers) };
}

describe('a state may come back', () => {
  const [event] = eventsOf(`activated ${D1}`);
  const events = [event, { ...event, digest: D2, signedBy: 'a' }, { ...event, digest: D3, source: 't' }] as const;
  const digestsFor = async (source: SnapshotSource): Promise<readonly (string | undefined)[]> =>
    (await eventsToGoBackTo(events as readonly PolicyEvent[], source)).map(({ digest }) => digest);

  test('when it is of the same source', async () => {
    assert.deepEqual(await digestsFor(sourceOf('s')), [D1, D2]);
    assert.deepEqual(await digestsFor(sourceOf('t')), [D3]);
  });

  test('when it was signed by a key of now, where that is asked for', async () => {
    assert.deepEqual(await digestsFor(sourceOf('s', 'a 1')), [D2]);
    assert.deepEqual(await digestsFor(sourceOf('s', 'b 1')), []);
    const { signers: _, ...unknown } = sourceOf('s', 'a 1');
    assert.deepEqual(await digestsFor(unknown), []);
  });

  test('when that key is the same as then', async () => {
    const bare: PolicySnapshot = { files: { modules: {}, data: {} }, tests: {}, digest: D1 };
    const signed: PolicySnapshot = { ...bare, signedBy: 'a', verifiedBy: '1' };
    await checkSigner(bare, sourceOf('s'));
    await checkSigner(signed, sourceOf('s', 'b 2', 'a 1'));
    const { signers: _, ...unknown } = sourceOf('s', 'a 1');
    const wrong: readonly (readonly [PolicySnapshot, SnapshotSource])[] = [
      [bare, sourceOf('s', 'a 1')],
      [bare, unknown],
      [{ ...bare, signedBy: 'a' }, sourceOf('s', 'a 1')],
      [signed, sourceOf('s', 'a 2')],
      [signed, sourceOf('s', 'b 1')],
      [signed, unknown],
    ];
    for (const [snapshot, source] of wrong)
      await assert.rejects(checkSigner(snapshot, source), { code: 'conflict', message: /^1111aaaa is / });
  });
});

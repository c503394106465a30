import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { bundleVectors } from './spiffe-vectors/bundles.ts';
import { ID_VECTORS } from './spiffe-vectors/ids.ts';
import { judgeWithGoSpiffe, judgeWithOpenssl, judgeWithSvidgate } from './spiffe-vectors/judges.ts';
import { jwtVectors } from './spiffe-vectors/jwt.ts';
import type { Vector, Verdict } from './spiffe-vectors/vector.ts';
import { x509Vectors } from './spiffe-vectors/x509.ts';

const VECTORS: readonly Vector[] = [
  ...ID_VECTORS,
  ...(await x509Vectors()),
  ...jwtVectors(),
  ...(await bundleVectors()),
];

describe('SPIFFE vectors', () => {
  let goSpiffe: readonly Verdict[] = [];

  before(async () => {
    goSpiffe = await judgeWithGoSpiffe(VECTORS);
    assert.equal(goSpiffe.length, VECTORS.length);
  });

  for (const [index, vector] of VECTORS.entries()) {
    const { name, clause, accepts, input, otherwise = {} } = vector;
    it(`${clause}: ${input.kind} ${accepts ? 'takes' : 'refuses'} ${name}`, async () => {
      const ours = await judgeWithSvidgate(input);
      assert.equal(ours.accepts, accepts, `svidgate: ${ours.reason}`);

      const theirs = goSpiffe[index]!;
      const agrees = theirs.accepts === accepts && (!accepts || isSame(theirs.value, ours.value));
      if (otherwise.goSpiffe === undefined) assert.ok(agrees, `go-spiffe: ${JSON.stringify(theirs)}`);
      else assert.ok(!agrees, `go-spiffe agrees now, but the table says: ${otherwise.goSpiffe}`);

      if (input.kind !== 'x509') return;
      const openssl = await judgeWithOpenssl(input);
      if (otherwise.openssl === undefined) assert.equal(openssl.accepts, accepts, `openssl: ${openssl.reason}`);
      else assert.notEqual(openssl.accepts, accepts, `openssl agrees now, but the table says: ${otherwise.openssl}`);
    });
  }

  it('are many, each of its own name', () => {
    assert.ok(VECTORS.length >= 80);
    const names = VECTORS.map(({ input, name }) => `${input.kind} ${name}`);
    assert.deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      [],
    );
  });
});

function isSame(theirs: unknown, ours: unknown): boolean {
  try {
    assert.deepEqual(theirs, ours);
    return true;
  } catch {
    return false;
  }
}

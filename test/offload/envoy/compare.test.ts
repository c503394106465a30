/** The model of Envoy's matchers against Envoy itself. `npm run prove` asks far more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { envoyVersions } from '../../support/envoy-versions.ts';
import { compareWithEnvoy } from './compare.ts';

const SEED = 20_261_122;
const REQUESTS = Number(process.env['SVIDGATE_OFFLOAD_COMPARED'] ?? 1500);
/** Of them, for the older Envoy. */
const OLDER_SHARE = 0.2;

for (const [index, version] of envoyVersions().entries()) {
  test(`${version.name} decides by a set of rules as the model does`, { skip: version.skip }, async () => {
    const requests = Math.ceil(index === 0 ? REQUESTS : REQUESTS * OLDER_SHARE);
    const { compared, results, allowed, differences } = await compareWithEnvoy({ version, seed: SEED, requests });
    assert.deepEqual(differences, []);
    // Or else nothing was tried: Envoy takes most requests, and allows and leaves many.
    assert.ok(compared > requests / 2, `${compared} of ${requests} compared`);
    assert.ok(allowed > results / 10 && allowed < results * 0.9, `${allowed} of ${results} allowed`);
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFlag } from '../../../../src/discovery/index.ts';
import { usesSpiffeValidator } from '../../../../src/endpoints/sds/envoy-abilities.ts';

const flags = [
  { value: true, flag: true },
  { value: 'T', flag: true },
  { value: '0', flag: false },
  { value: 'FALSE', flag: false },
  { value: 'yes', flag: undefined },
  { value: 1, flag: undefined },
  { value: null, flag: undefined },
  { value: {}, flag: undefined },
];

for (const { value, flag } of flags) {
  test(`disable_spiffe_cert_validation ${JSON.stringify(value)} is ${flag}`, () =>
    assert.equal(parseFlag(value), flag));
}

const validators = [
  { version: undefined, own: undefined, config: false, spiffe: true },
  { version: { major: 1, minor: 40 }, own: undefined, config: false, spiffe: true },
  { version: { major: 1, minor: 18 }, own: undefined, config: false, spiffe: true },
  { version: { major: 1, minor: 17 }, own: undefined, config: false, spiffe: false },
  { version: { major: 2, minor: 0 }, own: undefined, config: false, spiffe: true },
  { version: { major: 0, minor: 0 }, own: undefined, config: false, spiffe: false },
  { version: undefined, own: undefined, config: true, spiffe: false },
  { version: undefined, own: false, config: true, spiffe: true },
  { version: undefined, own: true, config: false, spiffe: false },
];

for (const { version, own, config, spiffe } of validators) {
  test(`the SPIFFE validator is ${spiffe ? 'used' : 'not used'} for ${JSON.stringify({ version, own, config })}`, () => {
    const node = { id: '', cluster: '', version, disableSpiffeCertValidation: own };
    assert.equal(usesSpiffeValidator(node, config), spiffe);
  });
}

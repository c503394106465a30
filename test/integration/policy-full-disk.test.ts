import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noSmallDisk, runOnSmallDisk } from '../support/small-disk.ts';

const PROGRAM = fileURLToPath(import.meta.resolve('../support/policy-full-disk.ts'));

test('on a full disk a policy comes into force all the same, and a rollback is refused', { skip: noSmallDisk }, () =>
  runOnSmallDisk(PROGRAM, 8 * 2 ** 20),
);

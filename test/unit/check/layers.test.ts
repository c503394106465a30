import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importsOf, layerViolations } from '../../../tools/check/layers.ts';

interface Case {
  readonly name: string;
  readonly path: string;
  readonly text: string;
  /** The line and a part of the message; absent when it is allowed. */
  readonly violation?: { readonly line: number; readonly says: RegExp };
}

const ALLOWED: readonly Case[] = [
  { name: 'a lower layer', path: 'src/policy/engine.ts', text: "import { SvidgateError } from '../core/index.ts';" },
  { name: 'its own room', path: 'src/policy/engine.ts', text: "import { load } from './load.ts';" },
  { name: 'spiffe on pki', path: 'src/spiffe/x509-svid.ts', text: "import { pemEncode } from '../pki/index.ts';" },
  { name: 'node itself', path: 'src/core/clock.ts', text: "import { setTimeout } from 'node:timers/promises';" },
  { name: 'its own package', path: 'src/proto/codec.ts', text: "import p from 'protobufjs/minimal.js';" },
  { name: 'a package of its scope', path: 'src/transport/http.ts', text: "import { serve } from '@hono/node-server';" },
  { name: 'identity by an endpoint', path: 'src/endpoints/sds/a.ts', text: "import '../../identity/index.ts';" },
  { name: 'config by server', path: 'src/server/server.ts', text: "import type { Config } from '../config/index.ts';" },
  {
    name: 'an endpoint by server',
    path: 'src/server/server.ts',
    text: "import { x } from '../endpoints/sds/index.ts';",
  },
  { name: 'a comment', path: 'src/core/a.ts', text: "/*\nimport { x } from '../cli/index.ts';\n*/\n" },
];

const REFUSED: readonly Case[] = [
  {
    name: 'a higher layer',
    path: 'src/core/clock.ts',
    text: "import { parse } from '../config/index.ts';",
    violation: { line: 1, says: /core \(layer 0\) imports config \(layer 2\)/ },
  },
  {
    name: 'the same layer',
    path: 'src/authority/authority.ts',
    text: "\nimport { match } from '../registration/index.ts';",
    violation: { line: 2, says: /only lower layers/ },
  },
  {
    name: 'a type of a higher layer',
    path: 'src/pki/pem.ts',
    text: "import type { Config } from '../config/index.ts';",
    violation: { line: 1, says: /layer 2/ },
  },
  {
    name: 'a type in place',
    path: 'src/pki/pem.ts',
    text: "\n\nlet config: import('../config/index.ts').Config;",
    violation: { line: 3, says: /layer 2/ },
  },
  {
    name: 'a lazy import of a higher layer',
    path: 'src/pki/pem.ts',
    text: "const m = await import('../config/index.ts');",
    violation: { line: 1, says: /layer 2/ },
  },
  {
    name: 're-export from a higher layer over several lines',
    path: 'src/pki/pem.ts',
    text: "export {\n  a,\n  type B,\n} from '../config/index.ts';",
    violation: { line: 4, says: /layer 2/ },
  },
  {
    name: 'a file behind the door',
    path: 'src/policy/engine.ts',
    text: "import { x } from '../core/errors.ts';",
    violation: { line: 1, says: /only through src\/core\/index\.ts/ },
  },
  {
    name: 'a worker behind the door',
    path: 'src/policy/engine.ts',
    text: "new Worker(new URL('../core/worker.ts', import.meta.url));",
    violation: { line: 1, says: /only through/ },
  },
  {
    name: 'an endpoint by an endpoint',
    path: 'src/endpoints/sds/sds.ts',
    text: "import { x } from '../ext-authz/index.ts';",
    violation: { line: 1, says: /endpoints never import one another/ },
  },
  {
    name: 'datastore by an endpoint',
    path: 'src/endpoints/sds/sds.ts',
    text: "import { x } from '../../datastore/index.ts';",
    violation: { line: 1, says: /never imports datastore/ },
  },
  {
    name: 'config by an endpoint',
    path: 'src/endpoints/sds/sds.ts',
    text: "import type { x } from '../../config/index.ts';",
    violation: { line: 1, says: /never imports config/ },
  },
  {
    name: "another room's package",
    path: 'src/authority/authority.ts',
    text: "import * as x509 from '@peculiar/x509';",
    violation: { line: 1, says: /belongs to pki/ },
  },
  {
    name: "another room's built-in module",
    path: 'src/registration/store.ts',
    text: "import { DatabaseSync } from 'node:sqlite';",
    violation: { line: 1, says: /belongs to datastore/ },
  },
  {
    name: 'a package of no room',
    path: 'src/core/a.ts',
    text: "import _ from 'lodash';",
    violation: { line: 1, says: /gives to no room/ },
  },
  {
    name: 'tests by the product',
    path: 'src/core/a.ts',
    text: "import '../../test/support/envoy.ts';",
    violation: { line: 1, says: /no room of src/ },
  },
  {
    name: 'a room that is not in the table',
    path: 'src/helpers/a.ts',
    text: "import '../core/index.ts';",
    violation: { line: 1, says: /no room of the layer table/ },
  },
];

describe('layers', () => {
  for (const { name, path, text, violation } of [...ALLOWED, ...REFUSED]) {
    it(`${violation === undefined ? 'allow' : 'refuse'} ${name}`, () => {
      const found = layerViolations([{ path, text }]);
      if (violation === undefined) {
        assert.deepEqual(found, []);
        return;
      }
      assert.equal(found.length, 1);
      assert.equal(found[0]?.file, path);
      assert.equal(found[0]?.line, violation.line);
      assert.match(found[0]?.message ?? '', violation.says);
    });
  }

  it('find every form of import, in order', () => {
    const text = [
      "import a, { b } from './a.ts';",
      'import "./b.ts";',
      "export * from './c.ts';",
      "export type { D } from './d.ts';",
      "const e = await import('./e.ts');",
      "const text = 'import x from nowhere';",
      "export const from = 'f';",
    ].join('\n');
    assert.deepEqual(
      importsOf(text).map(({ specifier, line }) => `${line} ${specifier}`),
      ['1 ./a.ts', '2 ./b.ts', '3 ./c.ts', '4 ./d.ts', '5 ./e.ts'],
    );
  });
});

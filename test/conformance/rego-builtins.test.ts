/** What OPA answers, the compiled policy answers: each builtin, on usual and odd arguments. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { OFFERED_BUILTINS } from '../../src/policy/builtins/offered.ts';
import { createWebCa } from '../support/web-certificate.ts';
import { calls, differences } from './rego-builtins/compare.ts';
import {
  ENCODING_EXPRESSIONS,
  NETWORK_EXPRESSIONS,
  PATTERN_EXPRESSIONS,
  STRING_EXPRESSIONS,
} from './rego-builtins/strings.ts';
import { TIME_EXPRESSIONS } from './rego-builtins/time.ts';
import { certificateExpressions, TOKEN_EXPRESSIONS } from './rego-builtins/tokens.ts';
import { DOCUMENT_EXPRESSIONS, NUMBER_EXPRESSIONS, TEXT_FORM_EXPRESSIONS } from './rego-builtins/values.ts';

const families: Record<string, readonly string[]> = {
  numbers: NUMBER_EXPRESSIONS,
  documents: DOCUMENT_EXPRESSIONS,
  'JSON, YAML and Rego': TEXT_FORM_EXPRESSIONS,
  strings: STRING_EXPRESSIONS,
  patterns: PATTERN_EXPRESSIONS,
  encodings: ENCODING_EXPRESSIONS,
  networks: NETWORK_EXPRESSIONS,
  time: TIME_EXPRESSIONS,
  'hashes and tokens': TOKEN_EXPRESSIONS,
};
let certificates: readonly string[] = [];

before(async () => {
  const ca = await createWebCa();
  const { cert, key } = await ca.issue([{ type: 'dns', value: 'a.example' }]);
  certificates = certificateExpressions({ leaf: cert, root: ca.ca, leafKey: key });
});

describe('OPA and a compiled policy agree on', () => {
  for (const [name, expressions] of Object.entries(families)) {
    test(`${expressions.length} expressions on ${name}`, async () => {
      assert.deepEqual(await differences(expressions, expressions.length / 5), []);
    });
  }

  test('expressions on certificates', async () => {
    assert.deepEqual(await differences(certificates), []);
  });

  const word = (characters: string, maxLength: number): fc.Arbitrary<string> =>
    fc.string({ unit: fc.constantFrom(...Array.from(characters)), maxLength });
  const generated: Record<
    string,
    { readonly names: readonly string[]; readonly args: readonly fc.Arbitrary<string>[] }
  > = {
    networks: {
      names: ['net.cidr_contains', 'net.cidr_intersects'],
      args: [fc.oneof(fc.ipV4Extended(), fc.ipV6(), word('0123456789.:/f', 20)), fc.oneof(fc.ipV4(), fc.ipV6())].map(
        (ip) =>
          fc
            .tuple(ip, fc.integer({ min: -1, max: 129 }))
            .map(([address, bits]) => (bits < 0 ? address : `${address}/${bits}`)),
      ),
    },
    units: { names: ['units.parse', 'units.parse_bytes'], args: [word('0123456789.eEkKmMgGiIB+- ', 8)] },
    versions: { names: ['semver.compare'], args: [word('0123.-+av', 9), word('0123.-+av', 9)] },
    times: { names: ['time.parse_rfc3339_ns', 'time.parse_duration_ns'], args: [word('0123456789TZ:.+-hmsµ', 25)] },
    formats: {
      names: ['time.parse_ns'],
      args: [word('20060102JanMonZ15:43 ._-', 12), word('2020013FebTue :-._Z', 12)],
    },
    queries: { names: ['urlquery.decode', 'urlquery.decode_object'], args: [word('xy=&+%20é;', 12)] },
    base64: { names: ['base64.decode', 'base64url.decode', 'base64.is_valid'], args: [word('AZaz09+/-_=\n ', 9)] },
    numbers: { names: ['0 + to_number', 'json.unmarshal'], args: [word('0123456789.eE+-_xn ', 8)] },
    patterns: { names: ['regex.match', 'glob.match'], args: [word('ab*+?()[]{}|^$.\\', 8), word('ab.', 6)] },
  };
  for (const [name, { names, args }] of Object.entries(generated)) {
    test(`generated ${name}`, async () => {
      const tuples = fc.sample(fc.tuple(...args), 60);
      const expressions = tuples.flatMap((tuple) => {
        const given = tuple.map((text) => [JSON.stringify(text)]);
        return names.flatMap((called) =>
          called === 'glob.match' ? calls(called, given[0] ?? [], ['null'], given[1] ?? []) : calls(called, ...given),
        );
      });
      assert.deepEqual(await differences(expressions), []);
    });
  }
});

test('each builtin that is offered is asked for', () => {
  const all = [...Object.values(families).flat(), ...certificates].join('\n');
  /** Written otherwise, made by the compiler, or without a value to compare. */
  const others =
    'and assign div eq equal gt gte internal.member_2 internal.member_3 internal.print internal.template_string';
  const more = 'lt lte minus mul neq or plus print rem rego.metadata.chain';
  const exempt = new Set(`${others} ${more}`.split(' '));
  assert.deepEqual(
    OFFERED_BUILTINS.filter((name) => !exempt.has(name) && !all.includes(`${name}(`)),
    [],
  );
});

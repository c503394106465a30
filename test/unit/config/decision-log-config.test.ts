import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type DecisionLogConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate/svidgate.yaml';

function read(section: string): {
  readonly config?: DecisionLogConfig | undefined;
  readonly mistakes: readonly string[];
} {
  const { value, mistakes } = parseConfig(`trust_domain: td.test\nauthz: {}\ndecision_log: { ${section} }\n`, FILE);
  return { config: value?.decisionLog, mistakes: (mistakes ?? []).map(formatMistake) };
}

test('nothing is recorded where nothing is said', () => {
  assert.equal(parseConfig('trust_domain: td.test\nauthz: {}\n', FILE).value?.decisionLog, undefined);
});

test('an empty section records into the data directory, and shows nothing', () => {
  assert.deepEqual(read('').config, {
    folder: '/etc/svidgate/data/decisions',
    maxBytes: 2 ** 30,
    stdout: false,
    labels: {},
    shown: { headers: [], query: [], claims: [], paths: [] },
  });
});

test('names of headers are in lower case', () => {
  const show =
    'show: { headers: [X-Tenant], query: [Page], claims: [groups], paths: [/result/body] }, labels: { a: b }';
  const { config } = read(show);
  assert.deepEqual(config?.shown, {
    headers: ['x-tenant'],
    query: ['Page'],
    claims: ['groups'],
    paths: ['/result/body'],
  });
  assert.deepEqual(config.labels, { a: 'b' });
});

test('credentials cannot be shown', () => {
  for (const name of ['authorization', 'Cookie', 'x-api-key', 'X-Auth-Token', 'set-cookie', 'client_secret']) {
    assert.match(read(`show: { headers: [${name}] }`).mistakes.join(), /credentials are never recorded/, name);
  }
  for (const name of ['access_token', 'accessKey', 'x_vault_key', 'X-Vault-Key']) {
    assert.match(read(`show: { query: [${name}] }`).mistakes.join(), /credentials are never recorded/, name);
  }
  for (const path of ['/input/parsed_body/password', '/input/attributes/request/http/headers/cookie/0']) {
    assert.match(read(`show: { paths: [${path}] }`).mistakes.join(), /credentials are never recorded/, path);
  }
  assert.deepEqual(read('show: { query: [key, monkey] }').config?.shown.query, ['key', 'monkey']);
});

test('paths are pointers into what a record has of a request', () => {
  for (const path of ['input', '/svidgate', '/inputs/a', '/input/', '/input/~2']) {
    assert.match(read(`show: { paths: ["${path}"] }`).mistakes.join(), /expected a JSON pointer/, path);
  }
});

test('a policy says which share of its allows is recorded', () => {
  const policies = (share: string): ReturnType<typeof parseConfig> => {
    const policy = `{ path: ./p, decision_log: { sample_allows: ${share} } }`;
    return parseConfig(`trust_domain: td.test\nauthz:\n  policies:\n    default: ${policy}\n`, FILE);
  };
  assert.equal(policies('0.25').value?.authz?.policies.get('default')?.sampleAllows, 0.25);
  assert.equal(policies('0').value?.authz?.policies.get('default')?.sampleAllows, 0);
  for (const share of ['-0.1', '1.1', 'half']) {
    assert.match((policies(share).mistakes ?? []).map(formatMistake).join(), /a number from 0 to 1/, share);
  }
});

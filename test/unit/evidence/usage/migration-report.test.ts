import assert from 'node:assert/strict';
import { test } from 'node:test';
import { migrationReport, parseOldCredential, type DecisionRecord } from '../../../../src/evidence/index.ts';
import { presenceOf, type Presence } from '../../../../src/evidence/usage/old-credential.ts';
import { decisionRecord, type RecordParts } from '../../../support/decision-records.ts';

const { signal } = new AbortController();
const TOKEN = '/input/attributes/request/http/headers/x-static-token';
const HEADERS = ['attributes', 'request', 'http', 'headers'];

const PRESENCES: readonly (readonly [credential: string, name: string, parts: RecordParts, is: Presence])[] = [
  ['header:X-Static-Token', 'erased', { erased: [TOKEN] }, 'present'],
  ['header:x-static-token', 'masked', { masked: [TOKEN] }, 'present'],
  ['header:x-static-token', 'named as not replayable', { svidgate: { unreplayable: [TOKEN] } }, 'present'],
  [
    'header:x-static-token',
    'shown',
    { input: { attributes: { request: { http: { headers: { 'x-static-token': 't' } } } } } },
    'present',
  ],
  ['header:x-static-token', 'looked at and not there', { input: {}, svidgate: { recorded: [HEADERS] } }, 'absent'],
  [
    'header:x-static-token',
    'another one',
    { input: {}, erased: [`${TOKEN}-2`], svidgate: { recorded: 'all' } },
    'absent',
  ],
  [
    'header:x-static-token',
    'not looked at',
    { input: {}, svidgate: { recorded: [[...HEADERS, 'x-other']] } },
    'unknown',
  ],
  ['header:x-static-token', 'no policy was asked', {}, 'unknown'],
  [
    'header:x-static-token',
    'all headers erased',
    { input: {}, erased: ['/input/attributes/request/http/headers'], svidgate: { recorded: 'all' } },
    'unknown',
  ],
  ['query:api_key', 'a parameter', { erased: ['/input/parsed_query/api_key/0'] }, 'present'],
  ['jwt-provider:legacy', 'its token', { input: { svidgate: { jwt: { provider: 'legacy' } } } }, 'present'],
  [
    'jwt-provider:legacy',
    'one of two',
    { input: { svidgate: { jwt: { tokens: [{ provider: 'legacy' }] } } } },
    'present',
  ],
  [
    'jwt-provider:legacy',
    'a token of another',
    { input: { svidgate: { jwt: { tokens: [{ provider: 'new' }] } } } },
    'absent',
  ],
  ['jwt-provider:legacy', 'not looked at', { input: {}, svidgate: { recorded: [] } }, 'unknown'],
  [
    'jwt-issuer:https://old.test',
    'its token',
    { svidgate: { tokens: [{ issuer: 'https://old.test', subject: '', token_hash: '', verified: false }] } },
    'present',
  ],
  ['jwt-issuer:https://old.test', 'no token', {}, 'absent'],
];

test('a record says whether a credential was sent, without its value', () => {
  for (const [credential, name, parts, is] of PRESENCES) {
    assert.equal(presenceOf(parseOldCredential(credential), decisionRecord(parts)), is, `${credential}: ${name}`);
  }
});

test('a credential of a kind that is not known is refused', () => {
  for (const text of ['x-static-token', 'cookie:a', 'header:', '']) {
    assert.throws(() => parseOldCredential(text), { code: 'invalid_request' }, text);
  }
});

async function* each(records: readonly DecisionRecord[]): AsyncGenerator<DecisionRecord> {
  for (const record of records) yield await Promise.resolve(record);
}

test('callers are told by principal and route, and those who are done stand apart', async () => {
  const carrying = (principal: string, at: string, more: RecordParts = {}): DecisionRecord =>
    decisionRecord({ erased: [TOKEN], timestamp: at, ...more, svidgate: { principal, ...more.svidgate } });
  const without = { input: {}, svidgate: { principal: 'spiffe://a.test/new', recorded: 'all' } } as const;
  const report = await migrationReport(
    each([
      carrying('spiffe://a.test/web', '2026-11-22T10:00:00Z'),
      carrying('spiffe://a.test/web', '2026-11-22T12:00:00Z', { svidgate: { outcome: 'deny' } }),
      carrying('spiffe://a.test/web', '2026-11-22T11:00:00Z', { svidgate: { route: 'other' } }),
      carrying('unverified', '2026-11-22T09:00:00Z'),
      carrying('spiffe://a.test/web', '2026-11-23T11:00:00Z', { svidgate: { caller: 'anonymous' } }),
      carrying('spiffe://a.test/web', '2026-11-23T11:00:00Z', { svidgate: { policy: 'other' } }),
      decisionRecord(without),
      decisionRecord(),
    ]),
    { credentials: [parseOldCredential('header:x-static-token')], policy: 'default', signal },
  );
  assert.deepEqual(report, {
    read: 8,
    leftOut: { anonymous: 1, otherPolicies: 1 },
    unknown: 1,
    others: 0,
    callers: [
      {
        principal: 'spiffe://a.test/web',
        withOld: 3,
        withoutOld: 0,
        lastSeen: '2026-11-22T12:00:00Z',
        routes: [
          { method: 'GET', route: 'orders.test/orders', count: 2, allowed: 1, lastSeen: '2026-11-22T12:00:00Z' },
          { method: 'GET', route: 'other', count: 1, allowed: 1, lastSeen: '2026-11-22T11:00:00Z' },
        ],
      },
      {
        principal: 'unverified',
        withOld: 1,
        withoutOld: 0,
        lastSeen: '2026-11-22T09:00:00Z',
        routes: [
          { method: 'GET', route: 'orders.test/orders', count: 1, allowed: 1, lastSeen: '2026-11-22T09:00:00Z' },
        ],
      },
      { principal: 'spiffe://a.test/new', withOld: 0, withoutOld: 1, routes: [] },
    ],
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { shadowSubject, type SubjectParts } from '../../../src/evidence/index.ts';

const GOOD: SubjectParts = { spiffeId: 'spiffe://a.test/web', method: 'GET', host: 'api.test', path: '/', route: '' };
const routeOf = (parts: Partial<SubjectParts>): string => shadowSubject({ ...GOOD, ...parts }).route;

test('a route is the name that it gives itself, or host and first segment without anything that may be an id', () => {
  const paths: readonly (readonly [path: string, shown: string])[] = [
    ['/', 'api.test/'],
    ['', 'api.test/'],
    ['/?a=secret', 'api.test/'],
    ['/orders', 'api.test/orders'],
    ['/orders/', 'api.test/orders/*'],
    ['/orders/7/items?token=secret', 'api.test/orders/*'],
    ['/orders#x', 'api.test/orders'],
    ['/v2/a', 'api.test/v2/*'],
    ['/grpc.health.v1.Health/Check', 'api.test/grpc.health.v1.Health/*'],
    ['/4711', 'api.test/*'],
    ['/user-4711/a', 'api.test/*/*'],
    ['/3f2a9cbe-0000', 'api.test/*'],
    ['/DEADBEEF99', 'api.test/*'],
    [`/${'x'.repeat(65)}`, 'api.test/*'],
    ['/ann@acme.test/a', 'api.test/*/*'],
    ['/%61nn', 'api.test/*'],
    ['//orders', 'api.test/*/*'],
    ['/\u0000\ud800', 'api.test/*'],
  ];
  for (const [path, shown] of paths) assert.equal(routeOf({ path }), shown, JSON.stringify(path));
  assert.equal(routeOf({ host: 'API.test:8443', path: '/a' }), 'api.test:8443/a');
  for (const host of ['', 'a b', 'x'.repeat(101), 'ä.test', 'a/b']) assert.equal(routeOf({ host, path: '/a' }), '?/a');
  assert.equal(routeOf({ route: 'orders', path: '/a' }), 'orders');
  assert.equal(routeOf({ route: `\ud800\n${'x'.repeat(300)}` }), `??${'x'.repeat(198)}`);
});

test('a principal is a verified peer, a method one that HTTP has', () => {
  assert.equal(shadowSubject(GOOD).principal, 'spiffe://a.test/web');
  assert.equal(shadowSubject({ ...GOOD, spiffeId: undefined }).principal, 'unverified');
  for (const [method, shown] of [
    ['GET', 'GET'],
    ['get', 'other'],
    ['BREW', 'other'],
    ['', '-'],
  ] as const) {
    assert.equal(shadowSubject({ ...GOOD, method }).method, shown);
  }
});

test('whatever a client sends, a subject is short, printable, and says nothing of query or later segments', () => {
  const path = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.string({ unit: 'grapheme' })).map((parts) => `/${parts.join('/')}`),
  );
  fc.assert(
    fc.property(path, fc.string(), fc.string(), (given, host, method) => {
      const subject = shadowSubject({ ...GOOD, host, method, path: `${given}/SEcret?SEcret` });
      assert.match(subject.route, /^[\x20-\x7e]{1,200}$/);
      assert.ok(!subject.route.includes('SEcret') || given.replace(/^\//, '') === '', subject.route);
      assert.ok(subject.method.length <= 7);
    }),
  );
});

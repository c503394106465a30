/** The policies that come with svidgate, with data that allows something. */
import { join } from 'node:path';
import { readSnapshot } from '../../../src/policy/snapshot.ts';
import type { PolicySnapshot } from '../../../src/policy/index.ts';
import { root } from '../../../tools/setup/paths.mjs';
import { BILLING, ORDERS } from './draw.ts';
import type { Aim, HuntPolicy } from './policy.ts';

const ALICE = 'spiffe://example.test/alice';
const BOB = 'spiffe://example.test/bob';
const SHOP = 'spiffe://partner.test/shop';

interface Shipped {
  readonly folder: string;
  readonly entrypoint: string;
  /** Files of data in place of its own. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly aims: readonly Aim[];
}

const RULES = [
  { from: [ALICE, BOB], to: [ORDERS], methods: ['GET', 'HEAD'], paths: ['/orders', '/orders/*', '/a b/*'] },
  { from: [ALICE], to: [ORDERS, BILLING], methods: ['POST'], paths: ['/orders/**', '/bills/*/pay'] },
  { from: [SHOP], to: [ORDERS], methods: ['GET'], paths: ['/**'] },
  { from: [BOB], to: [BILLING], methods: ['DELETE'], paths: ['/'] },
];

const TABLE_AIMS: readonly Aim[] = [
  { path: '/orders', certificate: 'alice' },
  { path: '/orders/7', certificate: 'bob' },
  { path: '/a%20b/7?x=1', certificate: 'bob' },
  { path: '/orders/7/items', certificate: 'alice', method: 'POST' },
  { path: '/bills/7/pay', certificate: 'alice', method: 'POST', callerIds: [BILLING] },
  { path: '/catalog/1?x=1', certificate: 'shop' },
  { path: '/', certificate: 'bob', method: 'DELETE', callerIds: [BILLING] },
];

const SHIPPED: readonly Shipped[] = [
  { folder: '.', entrypoint: 'envoy/authz/allow', data: { 'data.json': { rules: RULES } }, aims: TABLE_AIMS },
  { folder: 'default_deny', entrypoint: 'envoy/default_deny/allow', data: {}, aims: TABLE_AIMS },
  {
    folder: 'break_glass',
    entrypoint: 'envoy/break_glass/decision',
    data: { 'data.json': { rules: RULES, break_glass: { grants: [] } } },
    aims: TABLE_AIMS,
  },
  {
    folder: 'egress',
    entrypoint: 'envoy/egress/decision',
    data: {
      'data.json': {
        egress: {
          routes: [
            { from: [ORDERS], hosts: ['orders.test'], methods: ['GET'], paths: ['/v1/**'] },
            { from: [ORDERS], hosts: ['orders.test'], methods: ['GET', 'POST'], paths: ['/v2/*'], audience: 'partner' },
            { from: [BILLING], hosts: ['orders.test', 'orders.test:8080'], methods: ['POST'], paths: ['/pay'] },
          ],
        },
      },
    },
    aims: [
      { path: '/v1/x' },
      { path: '/v1' },
      { path: '/v2/x' },
      { path: '/pay', method: 'POST', callerIds: [BILLING] },
    ],
  },
  {
    folder: 'federated',
    entrypoint: 'envoy/federated/allow',
    data: {
      'data.json': {
        federated: {
          peers: [
            { spiffe_id: SHOP, methods: ['GET', 'POST'], paths: ['/invoices', '/invoices/*'] },
            { spiffe_id: ALICE, methods: ['GET'], paths: ['/own/**'] },
          ],
        },
      },
    },
    aims: [
      { path: '/invoices', certificate: 'shop' },
      { path: '/invoices/7', method: 'POST', certificate: 'shop' },
      { path: '/own/x/y', certificate: 'alice' },
    ],
  },
  {
    folder: 'ingress',
    entrypoint: 'envoy/ingress/decision',
    data: {
      'data.json': {
        ingress: {
          routes: [{ methods: ['GET'], paths: ['/me'], provider: 'issuer', claims: { role: ['admin'] } }],
        },
      },
    },
    aims: [{ path: '/me', token: 'good' }],
  },
];

export async function shippedPolicies(): Promise<readonly HuntPolicy[]> {
  return await Promise.all(
    SHIPPED.map(async ({ folder, entrypoint, data, aims }): Promise<HuntPolicy> => {
      const [own, paths] = await Promise.all([snapshotAt(folder), snapshotAt('.')]);
      const modules = { ...paths.files.modules, ...own.files.modules };
      const texts = Object.fromEntries(Object.entries(data).map(([name, value]) => [name, JSON.stringify(value)]));
      const digest = `shipped ${folder}`;
      const snapshot = { files: { modules, data: texts }, tests: {}, digest };
      return { name: `shipped_${folder.replace('.', 'authz')}`, snapshot, entrypoint, aims };
    }),
  );
}

/** Of a folder below policies/rego; those in folders within it are not part of it. */
export async function snapshotAt(folder: string): Promise<PolicySnapshot> {
  const snapshot = await readSnapshot(join(root, 'policies/rego', folder));
  const own = Object.entries(snapshot.files.modules).filter(([name]) => !name.includes('/'));
  return { ...snapshot, files: { modules: Object.fromEntries(own), data: {} } };
}

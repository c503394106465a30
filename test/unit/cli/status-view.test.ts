import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatStatus, statusJson } from '../../../src/cli/status-view.ts';
import { decodeMessage, encodeMessage, msToTimestamp, svidgate } from '../../../src/proto/index.ts';

const NOW = Date.UTC(2026, 0, 1, 12);
const at = (seconds: number): ReturnType<typeof msToTimestamp> => msToTimestamp(NOW + seconds * 1000);

const MAX_BYTES = 2 ** 20;
const { Status } = svidgate.admin.v1;
type Resource = svidgate.admin.v1.HeldResourceInit;

function statusWith(resources: readonly Resource[]): svidgate.admin.v1.Status {
  const envoy = { nodeId: 'gateway-1', pid: 41, uid: 1000, spiffeIds: ['spiffe://prod.acme.test/gateway'], resources };
  return decodeMessage(Status, encodeMessage(Status, { version: '1.2.3', envoys: [envoy], envoyCount: 1 }), MAX_BYTES);
}

const APPLIED: Resource = {
  name: 'default',
  kind: 'x509_svid',
  version: '0123456789abcdef',
  acknowledged: true,
  acknowledgedVersion: '0123456789abcdef',
  sentAt: at(-60),
  serial: '5f0caa',
  expiresAt: at(1800),
};
const REFUSED: Resource = {
  name: 'ROOTCA',
  kind: 'bundle',
  version: 'fedcba9876543210',
  acknowledgedVersion: 'aaaabbbbccccdddd',
  sentAt: at(-30),
  lastNack: 'bad\u001b[2J CA',
  lastNackAt: at(-29),
  bundleSequence: 7,
  unapplied: true,
};
const SILENT: Resource = { ...REFUSED, name: 'ALL', lastNack: 'of before', lastNackAt: at(-300) };
const SENT: Resource = { name: 'jwt', kind: 'jwt_svid', version: 'ffff', sentAt: at(-3) };

/** The table of Envoys. */
function envoyTable(status: svidgate.admin.v1.Status): string {
  const text = formatStatus(status, status.envoys, NOW);
  return text.slice(text.indexOf('ENVOY '));
}

test('each resource is a line with what was sent and accepted, and what stands in its way', () => {
  assert.equal(
    envoyTable(statusWith([APPLIED, REFUSED, SILENT, SENT])),
    `
ENVOY       PID   UID    SPIFFE IDS                        RESOURCE   KIND        SENT           ACKNOWLEDGED   STATE         SERIAL   ENDS     BUNDLE   LAST NACK
gateway-1   41    1000   spiffe://prod.acme.test/gateway   default    x509_svid   0123456789ab   0123456789ab   applied       5f0caa   in 30m   -        -
                                                           ROOTCA     bundle      fedcba987654   aaaabbbbcccc   refused       -        -        7        29s ago: bad\\u{1b}[2J CA
                                                           ALL        bundle      fedcba987654   aaaabbbbcccc   no answer     -        -        7        5m ago: of before
                                                           jwt        jwt_svid    ffff           -              sent 3s ago   -        -        -        -
`.slice(1),
  );
});

test('an Envoy that was sent nothing has a line, too', () => {
  assert.match(envoyTable(statusWith([])), /^gateway-1 .* holds nothing +- +- +- +-$/m);
});

test('what an Envoy had from an earlier stream and refuses is refused', () => {
  const { sentAt: _, ...refused } = REFUSED;
  assert.match(envoyTable(statusWith([refused])), / refused /);
});

test('JSON has all that is known, and nothing that is not', () => {
  const status = statusWith([APPLIED, REFUSED, SENT]);
  const { envoys } = statusJson(status, status.envoys) as {
    readonly envoys: readonly { readonly resources: unknown }[];
  };
  assert.deepEqual(JSON.parse(JSON.stringify(envoys[0]?.resources)), [
    {
      name: 'default',
      kind: 'x509_svid',
      version: '0123456789abcdef',
      sent_at: '2026-01-01T11:59:00.000Z',
      acknowledged: true,
      acknowledged_version: '0123456789abcdef',
      unapplied: false,
      serial: '5f0caa',
      expires_at: '2026-01-01T12:30:00.000Z',
    },
    {
      name: 'ROOTCA',
      kind: 'bundle',
      version: 'fedcba9876543210',
      sent_at: '2026-01-01T11:59:30.000Z',
      acknowledged: false,
      acknowledged_version: 'aaaabbbbccccdddd',
      unapplied: true,
      bundle_sequence: 7,
      last_nack: 'bad\u001b[2J CA',
      last_nack_at: '2026-01-01T11:59:31.000Z',
    },
    {
      name: 'jwt',
      kind: 'jwt_svid',
      version: 'ffff',
      sent_at: '2026-01-01T11:59:57.000Z',
      acknowledged: false,
      unapplied: false,
    },
  ]);
});

test('of requests that Envoys answered by themselves it shows how many records are missing, or that nobody can tell', () => {
  const line = { pid: 41, uid: 1000, nodeId: 'gateway-1', policy: 'default', outcome: 'allow', received: 90 };
  const offloaded = [{ ...line, counted: 100, lost: 8 }, line, { ...line, pid: 0, nodeId: '', counted: 7, lost: 0 }];
  const bytes = encodeMessage(Status, { decisionLog: { folder: '/decisions', offloaded } });
  const status = decodeMessage(Status, bytes, MAX_BYTES);
  const text = formatStatus(status, [], NOW);
  const rows = text.slice(text.indexOf('ANSWERED BY ENVOY')).split('\n').slice(1, 4);
  assert.deepEqual(
    rows.map((row) => row.trim().split(/ {2,}/)),
    [
      ['gateway-1', '41', 'default', 'allow', '100', '90', '8'],
      ['gateway-1', '41', 'default', 'allow', 'not told', '90', 'unknown'],
      ['(ended)', '-', 'default', 'allow', '7', '90', '0'],
    ],
  );
  const { decision_log: log } = statusJson(status, []) as { readonly decision_log: { readonly offloaded: unknown } };
  assert.deepEqual(log.offloaded, [
    {
      pid: 41,
      uid: 1000,
      node_id: 'gateway-1',
      policy: 'default',
      outcome: 'allow',
      received: 90,
      counted: 100,
      lost: 8,
    },
    { pid: 41, uid: 1000, node_id: 'gateway-1', policy: 'default', outcome: 'allow', received: 90 },
    { policy: 'default', outcome: 'allow', received: 90, counted: 7, lost: 0 },
  ]);
});

/** What docs/policies.md shows of shadow policies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatShadowReport } from '../../src/cli/shadow-report-view.ts';
import { parseConfig } from '../../src/config/index.ts';
import { COMPARISONS } from '../../src/evidence/index.ts';
import { decodeMessage, encodeMessage, msToTimestamp, svidgate, type Codec } from '../../src/proto/index.ts';
import { readPage } from './markdown.ts';

const [, section = ''] = readPage('docs/policies.md').split('## Trying a policy in shadow\n');

function blockOf(language: string): string {
  const [, body = ''] = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(section) ?? [];
  assert.notEqual(body, '', language);
  return body;
}

test('the configuration is one', () => {
  const { value, mistakes } = parseConfig(`trust_domain: prod.acme.test\n${blockOf('yaml')}`, '/etc/svidgate.yaml');
  assert.deepEqual(mistakes, undefined);
  assert.deepEqual(
    [...(value?.authz?.policies ?? [])].map(([name, { shadowOf, unenforcedUntil }]) => [
      name,
      shadowOf,
      unenforcedUntil,
    ]),
    [
      ['default', undefined, undefined],
      ['candidate', 'default', undefined],
      ['billing', undefined, Date.UTC(2027, 0, 31)],
    ],
  );
});

const { ShadowDifference, ShadowSummary } = svidgate.admin.v1;

/** As it comes from the server. */
function sent<T, Init>(codec: Codec<T, Init>, message: Init): T {
  return decodeMessage(codec, encodeMessage(codec, message), 65_536);
}

test('the report looks as it is shown', () => {
  const seen = { firstSeen: msToTimestamp(Date.UTC(2027, 0, 7, 8)), lastSeen: msToTimestamp(Date.UTC(2027, 0, 8)) };
  const summary = { current: true, ...seen };
  const candidate = { policy: 'candidate', digest: '3f2a9c11d0e4', livePolicy: 'default' };
  const report = formatShadowReport(
    {
      summaries: [
        sent(ShadowSummary, { ...summary, ...candidate, same: 1204, wouldDeny: 6 }),
        sent(ShadowSummary, {
          ...summary,
          policy: 'billing',
          digest: '77ab01c2f3d4',
          livePolicy: 'billing',
          same: 12_345,
        }),
      ],
      differences: [
        sent(ShadowDifference, {
          ...candidate,
          ...seen,
          principal: 'spiffe://prod.acme.test/web',
          method: 'PUT',
          route: 'api.acme.test/orders/*',
          comparison: 'would_deny',
          live: 'allow',
          liveReason: '',
          candidate: 'deny',
          candidateReason: 'policy_denied',
          count: 6,
          compared: 18,
          agreed: 12,
          sampleDecisionId: '5c1f0b7e-4d52-4a5e-9d0c-2b8c7a6f1e90',
        }),
      ],
    },
    Date.UTC(2027, 0, 8, 0, 3),
  );
  const shown = blockOf('text').replace(/^\$ .*\n/, '');
  assert.equal(report, shown);
});

test('every comparison is explained', () => {
  for (const name of COMPARISONS) assert.match(section, new RegExp(`^\\| \`${name}\` +\\|`, 'm'));
});

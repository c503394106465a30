import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { root } from '../../tools/setup/paths.mjs';
import type { Treatment } from './treatments.ts';

/** Configurations of other proxies, which tests take from their page. */
export const PROXY_TREATMENTS: readonly Treatment[] = [
  {
    name: 'a part of nginx.conf, which a test runs',
    takes: ({ language }) => language === 'nginx',
    check: ({ page }) => takenBy(page, 'test/e2e/gate-nginx.test.ts'),
  },
  {
    name: 'a configuration of Traefik, by a client that does as it says',
    takes: ({ language, text }) => language === 'yaml' && text.includes('forwardAuth:') && isTraefik(parse(text)),
    check: ({ page }) => takenBy(page, 'test/integration/gate-traefik.test.ts'),
  },
];

function isTraefik(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).join(' ') === 'http';
}

function takenBy(page: string, test: string): Promise<void> {
  assert.equal(page, 'docs/other-doors.md');
  assert.ok(existsSync(join(root, test)), `${test} is gone`);
  return Promise.resolve();
}

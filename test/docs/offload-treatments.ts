import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../tools/setup/paths.mjs';
import { RUN_AS_A_WHOLE } from './covered.ts';
import type { Treatment } from './treatments.ts';

const PARTS = /^(?:http_filters|access_log|stats_flush_interval|virtual_hosts):/;

/** What pages on the offload show, which their tests take from them. */
export const OFFLOAD_TREATMENTS: readonly Treatment[] = [
  {
    name: 'a part of a configuration of Envoy with offload, put together by a test',
    takes: ({ language, text, page }) => language === 'yaml' && page === 'docs/offload.md' && PARTS.test(text),
    check: () => {
      assert.ok(existsSync(join(root, 'test/docs/offload.test.ts')));
      return Promise.resolve();
    },
  },
  {
    name: 'data of a policy whose commands are run as a whole',
    takes: ({ language, file, page }) =>
      language === 'yaml' && /^(?:policy|offload)\/data\.yaml$/.test(file ?? '') && RUN_AS_A_WHOLE.has(page),
    check: ({ page }) => {
      assert.ok(existsSync(join(root, RUN_AS_A_WHOLE.get(page) ?? '')));
      return Promise.resolve();
    },
  },
];

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkEnvoyFiles } from '../../src/offload/index.ts';
import { root } from '../../tools/setup/paths.mjs';

/** An Envoy that does all as it should, and buffers nothing. */
export const BASE = readFileSync(join(root, 'envoy-examples/offload/shop.yaml'), 'utf8').replace(
  /.*\n.*with_request_body.*\n/,
  '',
);
export const HTTP = 'type.googleapis.com/envoy.extensions.filters.http';
export const AUTHZ = '                  - name: envoy.filters.http.ext_authz\n';
export const RBAC = '                  - name: svidgate.offload.default\n';
export const ROUTE = '                        - match: { prefix: / }\n';

export const CONFIG = "'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig";
export const PER_ROUTE = `'@type': ${HTTP}.ext_authz.v3.ExtAuthzPerRoute`;
export const VIRTUAL_HOST = "                      domains: ['*']\n";

/** A filter of the chain, in one line, before another one. */
export function before(place: string, filter: string): (text: string) => string {
  return replaced(place, `                  - ${filter}\n${place}`);
}

/** What the one route says for a filter. */
export function onRoute(config: string): (text: string) => string {
  return replaced(ROUTE, `${ROUTE}                          typed_per_filter_config: { ${config} }\n`);
}

export function replaced(from: string, to: string): (text: string) => string {
  return (text) => {
    assert.equal(text.split(from).length, 2, `${from} is there once`);
    return text.replace(from, () => to);
  };
}

/** In the ext_authz filter and behind it. */
export function inAuthz(from: string, to: string): (text: string) => string {
  return (text) => {
    const at = text.indexOf(AUTHZ);
    return text.slice(0, at) + replaced(from, to)(text.slice(at));
  };
}

export function added(after: string, line: string): (text: string) => string {
  return replaced(after, `${after}${line}`);
}

export function both(...edits: readonly ((text: string) => string)[]): (text: string) => string {
  return (text) => edits.reduce((edited, edit) => edit(edited), text);
}

export interface Refusal {
  readonly title: string;
  readonly edit: (text: string) => string;
  /** Text at which the only finding begins. */
  readonly at: string;
  readonly message: RegExp;
}

/** Each is refused for that alone, at its place. */
export function testRefusals(cases: readonly Refusal[]): void {
  for (const { title, edit, at, message } of cases) {
    test(title, () => {
      const text = edit(BASE);
      assert.notEqual(text, BASE);
      const [mistake, ...others] = checkEnvoyFiles([{ file: 'envoy.yaml', text }]).mistakes;
      assert.deepEqual(others, []);
      assert.match(mistake?.message ?? '', message);
      const { line = 0, column = 0 } = mistake ?? {};
      const rest = text
        .split('\n')
        .slice(line - 1)
        .join('\n')
        .slice(column - 1);
      assert.ok(rest.startsWith(at), `${line}:${column}: ${rest.slice(0, 80)}`);
    });
  }
}

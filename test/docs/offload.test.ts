/** Puts the parts of docs/offload.md together, lets svidgate and Envoy judge them, and does what the page says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { checkEnvoyFiles } from '../../src/offload/index.ts';
import { envoyPath, root } from '../../tools/setup/paths.mjs';
import { tempFolder } from '../support/temp-folder.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { consoleSteps, runShell, visibleText } from './shell.ts';

const PAGE = 'docs/offload.md';
const ROUTES = 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration';
const LISTENER = 'type.googleapis.com/envoy.config.listener.v3.Listener';

interface Filter {
  readonly name: string;
  readonly disabled?: boolean;
}

interface Manager {
  http_filters: readonly Filter[];
  route_config?: { virtual_hosts: unknown };
  rds?: object;
  access_log: unknown;
}

interface Bootstrap {
  readonly stats_flush_interval: string;
  readonly stats_sinks: unknown;
  static_resources: {
    listeners?: readonly [
      { readonly filter_chains: readonly [{ readonly filters: readonly [{ typed_config: Manager }] }] },
    ];
  };
}

describe(PAGE, () => {
  const blocks = codeBlocks(PAGE, readPage(PAGE));
  const part = (key: string): Readonly<Record<string, unknown>> => {
    const block = blocks.find(({ language, text }) => language === 'yaml' && text.startsWith(`${key}:`));
    return parse(block?.text ?? assert.fail(key)) as Readonly<Record<string, unknown>>;
  };
  const filters = part('http_filters')['http_filters'] as readonly Filter[];
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let example: string;

  const bootstrap = (): Bootstrap => parse(example) as Bootstrap;
  const managerOf = ({ static_resources: { listeners } }: Bootstrap): Manager =>
    listeners?.[0].filter_chains[0].filters[0].typed_config ?? assert.fail('no listener');

  before(async () => {
    folder = await tempFolder();
    example = await readFile(join(root, 'envoy-examples/offload/shop.yaml'), 'utf8');
  });
  after(async () => folder[Symbol.asyncDispose]());

  test('its parts are those of the example', () => {
    const whole = bootstrap();
    const manager = managerOf(whole);
    assert.deepEqual(filters, manager.http_filters);
    assert.deepEqual(part('access_log')['access_log'], manager.access_log);
    const { stats_flush_interval: interval, stats_sinks: sinks } = whole;
    assert.deepEqual(part('stats_flush_interval'), { stats_flush_interval: interval, stats_sinks: sinks });
  });

  test('a pair for each route passes the check, and Envoy takes it', async () => {
    const whole = bootstrap();
    const manager = managerOf(whole);
    const pairs = ['orders', 'reports'].flatMap((policy) =>
      (
        JSON.parse(
          JSON.stringify(filters.slice(0, 2))
            .replaceAll('svidgate.offload.default', `svidgate.offload.${policy}`)
            .replaceAll('svidgate_default_', `svidgate_${policy}_`)
            .replace('"envoy.filters.http.ext_authz"', `"authz.${policy}"`),
        ) as readonly Filter[]
      ).map((filter) => ({ ...filter, disabled: true })),
    );
    manager.http_filters = [...pairs, ...filters.slice(2)];
    manager.route_config = { virtual_hosts: part('virtual_hosts')['virtual_hosts'] };
    const text = stringify(whole, { aliasDuplicateObjects: false });
    assert.deepEqual(checkEnvoyFiles([{ file: 'envoy.yaml', text }]).mistakes, []);
    const file = join(folder.path, 'pairs.yaml');
    await writeFile(file, text);
    const args = ['--mode', 'validate', '-c', file, '--log-level', 'error'];
    const { stdout } = await promisify(execFile)(envoyPath(), args, { cwd: folder.path });
    assert.match(stdout, /OK/);
  });

  test('its commands do what it says', async () => {
    const path = (name: string): string => join(folder.path, name);
    await symlink(join(root, 'policies'), path('policies'));
    for (const { file, text } of blocks) {
      if (file === undefined) continue;
      await mkdir(dirname(path(file)), { recursive: true });
      await writeFile(path(file), file === 'svidgate.yaml' ? `trust_domain: mesh.test\n${text}` : text);
    }
    await cp(join(root, 'envoy-examples/offload/shop.yaml'), path('envoy.yaml'));
    await writeDiscovered(bootstrap(), path);
    await mkdir(path('bin'));
    await symlink(join(root, 'bin/svidgate.mjs'), path('bin/svidgate'));
    const env = { ...process.env, PATH: `${path('bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
    const run = async (command: string) => runShell(command, { cwd: folder.path, env });
    const checks = blocks.filter(({ language }) => language === 'sh').flatMap(({ text }) => text.trim().split('\n'));
    assert.equal(checks.length, 2);
    for (const line of checks) {
      const { code, stdout, stderr } = await run(line);
      assert.equal(code, 0, stdout);
      assert.match(stderr, /1 HTTP connection manager with offload judged/);
    }
    const typed = blocks.filter(({ language }) => language === 'console').map(({ text }) => text);
    for (const { command, output } of consoleSteps(typed.join(''))) {
      assert.equal(visibleText((await run(command)).stdout), visibleText(output), command);
    }
  });

  /** The same Envoy, with its listener and its routes in files of their own. */
  async function writeDiscovered(whole: Bootstrap, path: (name: string) => string): Promise<void> {
    const manager = managerOf(whole);
    const routes = { '@type': ROUTES, name: 'shop', ...manager.route_config };
    delete manager.route_config;
    manager.rds = { route_config_name: 'shop', config_source: { path_config_source: { path: 'rds.yaml' } } };
    const [listener] = whole.static_resources.listeners ?? assert.fail('no listener');
    const plain = { aliasDuplicateObjects: false };
    await writeFile(path('lds.yaml'), stringify({ resources: [{ '@type': LISTENER, ...listener }] }, plain));
    await writeFile(path('rds.yaml'), stringify({ resources: [routes] }, plain));
    delete whole.static_resources.listeners;
    const lds = { lds_config: { path_config_source: { path: 'lds.yaml' } } };
    await writeFile(path('bootstrap.yaml'), stringify({ ...whole, dynamic_resources: lds }, plain));
  }
});

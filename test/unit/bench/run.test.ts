import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Result } from '../../../bench/benchmark.ts';
import { BENCHMARKS } from '../../../bench/catalogue.ts';
import { DOCUMENT, renderDocument } from '../../../bench/document.ts';
import { root } from '../../../tools/setup/paths.mjs';

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function bench(...args: readonly string[]): Promise<Run> {
  const child = spawn(process.execPath, [join(root, 'bench/run.ts'), ...args], { cwd: root });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: Number(code), stdout, stderr };
}

test('without a name every benchmark is listed with one line', async () => {
  const { code, stdout } = await bench();
  assert.equal(code, 0);
  for (const { name, summary } of BENCHMARKS) assert.match(stdout, new RegExp(`^ +${name} +${summary}$`, 'm'));
});

const wrong = [
  {
    args: ['nothing'],
    message: /no benchmark "nothing": there are issuance, sds, authz, offload, revoke, replay, restart, authority/,
  },
  { args: ['sds', 'authz'], message: /one benchmark at a time/ },
  { args: ['sds', '--jsn'], message: /--jsn/ },
  { args: ['sds', '--quick', '--write'], message: /--write does not keep them/ },
];

for (const { args, message } of wrong) {
  test(`${args.join(' ')} is wrong usage`, async () => {
    const { code, stdout, stderr } = await bench(...args);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, message);
  });
}

test('--help shows the options', async () => {
  const { code, stdout } = await bench('--help');
  assert.equal(code, 0);
  assert.match(stdout, /--json .*\n +--write/);
});

const figures = {
  issuance: [
    'issued_vs_floor',
    'jwt_issued_per_second',
    'cold_one_stream_sds_ms',
    'cold_connections_workload_api_cpu_ms',
    'memory_per_1000_identities_mb',
    'match_100000_p50_us',
    'entry_change_to_push_p99_ms',
    'any_authority_calls_vs_plain',
  ],
  sds: [
    'first_service_10000_vs_floor',
    'bundle_change_1000_p99_ms',
    'shared_entry_1000_vs_floor',
    'distinct_10000_p50_ms',
    'memory_per_1000_streams_mb',
    'cpu_per_1000_idle_streams_percent',
    'rotation_bytes_1_names_delta',
    'pushes_not_needed',
  ],
  authz: ['small_svidgate_per_second_at_128', 'rules_cpu_vs_opa_at_32', 'data_svidgate_mb', 'envoy_opa_p99_ms_at_32'],
  offload: [
    'plain_per_second',
    'native_envoy_cpu_us',
    'offloaded_gate_cpu_us',
    'call_p50_ms',
    'opa_p99_ms',
    'offloaded_recorded_share',
    'push_max_ms',
  ],
  revoke: [
    'serial_p99_ms',
    'spiffe_id_p99_ms',
    'entry_max_ms',
    'command_p50_ms',
    'load_per_second',
    'sent_after_answer',
  ],
  restart: ['cold_first_allow_ms', 'warm_first_allow_ms', 'bare_node_ms'],
};

for (const [name, expected] of Object.entries(figures)) {
  test(`${name} runs with tiny counts, and its last line is its result`, async () => {
    const { code, stdout, stderr } = await bench(name, '--quick', '--json');
    assert.equal(code, 0, stderr);
    const result = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Result;
    assert.equal(result.bench, name);
    const { aims = [] } = BENCHMARKS.find((one) => one.name === name) ?? {};
    assert.deepEqual(
      result.aims.map(({ name: figure, bound, aim }) => ({ name: figure, bound, aim })),
      aims,
    );
    for (const { name: figure, figure: value } of result.aims) assert.equal(value, result.figures[figure]);
    assert.match(result.machine, /cores, .*Node 24/);
    for (const value of Object.values(result.figures)) assert.ok(Number.isFinite(value) && value >= 0);
    for (const figure of expected) assert.ok(figure in result.figures, figure);
    assert.equal(result.figures['pushes_not_needed'] ?? 0, 0);
    assert.match(stderr, new RegExp(`^${name}: .* done$`, 'm'));
  });
}

test('the document is what the kept results make', async () => {
  assert.equal(await readFile(DOCUMENT, 'utf8'), await renderDocument(BENCHMARKS));
});

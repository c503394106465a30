import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import type { Command } from 'commander';
import { configCheck } from '../../src/cli/commands/config-check.ts';
import { createProgram } from '../../src/cli/program.ts';
import { configReference } from '../../src/config/index.ts';
import {
  AUDIT_EVENT_MEANINGS,
  AUDIT_FIELD_CATALOGUE,
  LOG_FIELD_NAMES,
  METRIC_CATALOGUE,
  noMetrics,
  silentLogger,
  systemClock,
} from '../../src/core/index.ts';
import { checkPolicyFolder, createPolicyEngine, formatProblem } from '../../src/policy/index.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { checkEntriesFile } from '../../src/registration/index.ts';
import { parseTrustDomain } from '../../src/spiffe/index.ts';
import { envoyPath, root } from '../../tools/setup/paths.mjs';
import { tempFolder } from '../support/temp-folder.ts';
import { AUTHORING_TREATMENTS } from './authoring-treatments.ts';
import { writeBundles, writeHereDocuments } from './bundle-files.ts';
import type { CodeBlock } from './markdown.ts';
import { COVERED_LINES, RUN_AS_A_WHOLE } from './covered.ts';
import { OFFLOAD_TREATMENTS } from './offload-treatments.ts';
import { PROXY_TREATMENTS } from './proxy-treatments.ts';
import { RECORD_TREATMENTS } from './record-treatments.ts';
import { consoleSteps, runShell, visibleText } from './shell.ts';

/** What is done with one kind of code block. The first treatment that takes a block is its own. */
export interface Treatment {
  readonly name: string;
  readonly takes: (block: CodeBlock) => boolean;
  /** Rejects when the block is wrong. `page` has all blocks of its page. */
  readonly check: (block: CodeBlock, page: readonly CodeBlock[]) => Promise<void>;
}

type Yaml = Readonly<Record<string, unknown>>;

const run = promisify(execFile);
const CONFIG_KEYS = new Set(configReference().map(({ key }) => key.split('.')[0] ?? ''));
/** The service table, and what it imports. */
const SHIPPED_POLICY = ['authz.rego', 'paths.rego'];

async function linkShippedPolicy(folder: string): Promise<void> {
  for (const name of SHIPPED_POLICY) await symlink(join(root, 'policies/rego', name), join(folder, name));
}

function topOf(block: CodeBlock): Yaml | undefined {
  if (block.language !== 'yaml') return undefined;
  const value: unknown = parse(block.text);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Yaml) : undefined;
}

/** Every key is one of svidgate.yaml; a fragment without its trust domain is one, too. */
const svidgateConfig: Treatment = {
  name: 'a configuration of svidgate, by config check with the files that it names',
  takes(block) {
    const keys = Object.keys(topOf(block) ?? {});
    return keys.some((key) => key !== 'entries') && keys.every((key) => CONFIG_KEYS.has(key));
  },
  async check(block, page) {
    await using folder = await tempFolder();
    const config = { trust_domain: 'prod.acme.test', ...topOf(block) };
    const entries = page.find((other) => entriesFile.takes(other));
    await mkdir(join(folder.path, 'policy'));
    for (const name of ['next', 'billing']) await symlink(join(root, 'policies/rego'), join(folder.path, name));
    await symlink(join(root, 'policies'), join(folder.path, 'policies'));
    await linkShippedPolicy(join(folder.path, 'policy'));
    await writeFile(join(folder.path, 'entries.yaml'), entries?.text ?? 'entries: []\n');
    await writeBundles(folder.path, config);
    await writeHereDocuments(folder.path, page);
    const file = join(folder.path, 'svidgate.yaml');
    await writeFile(file, stringify(config));
    let output = '';
    const collect = (text: string): void => void (output += text);
    const code = await configCheck({ file, output: 'text', terminal: { out: collect, err: collect } });
    assert.equal(code, 0, output);
  },
};

const entriesFile: Treatment = {
  name: 'an entries file, by the parser of entries',
  takes: (block) => Array.isArray(entriesIn(block)),
  async check(block) {
    await using folder = await tempFolder();
    const file = join(folder.path, 'entries.yaml');
    await writeFile(file, block.text);
    const [, name = ''] = /(?:spiffe:\/\/|"trust_domain": ")([\w.-]+)/.exec(block.text) ?? [];
    const trustDomain = parseTrustDomain(name);
    assert.deepEqual(await checkEntriesFile(file, trustDomain), []);
  },
};

/** Of YAML or of SPIRE's JSON. */
function entriesIn(block: CodeBlock): unknown {
  if (block.language === 'yaml') return topOf(block)?.['entries'];
  return block.language === 'json' ? (JSON.parse(block.text) as Yaml)['entries'] : undefined;
}

const envoyBootstrap: Treatment = {
  name: 'a bootstrap, by Envoy itself',
  takes: (block) => topOf(block)?.['static_resources'] !== undefined,
  async check(block) {
    await using folder = await tempFolder();
    const file = join(folder.path, 'envoy.yaml');
    await writeFile(file, block.text);
    const args = ['--mode', 'validate', '-c', file, '--disable-hot-restart', '--log-level', 'error'];
    const { stdout, stderr } = await run(envoyPath(), args, { cwd: folder.path });
    assert.match(stdout, /configuration '.*' OK/);
    assert.doesNotMatch(stderr, /deprecated/i);
  },
};

const policyData: Treatment = {
  name: 'data of the shipped policy, by compiling both',
  takes: (block) => Array.isArray(topOf(block)?.['rules']),
  async check(block) {
    await using folder = await tempFolder();
    await linkShippedPolicy(folder.path);
    await writeFile(join(folder.path, 'data.yaml'), block.text);
    await assertCompiles(folder.path, 'envoy/authz/allow');
    const rows = topOf(block)?.['rules'] as readonly Yaml[];
    for (const row of rows) assert.deepEqual(Object.keys(row), ['from', 'to', 'methods', 'paths']);
  },
};

const regoTests: Treatment = {
  name: 'tests of the policies of its page, by running them',
  takes: (block) => block.language === 'rego' && /^package [\w.]+_test$/m.test(block.text),
  async check(block, page) {
    const modules = page.filter((other) => other.language === 'rego');
    const files = { modules: Object.fromEntries(modules.map(({ text }, index) => [`${index}.rego`, text])), data: {} };
    const signal = new AbortController().signal;
    const result = await createRegoCompiler({ clock: systemClock }).test(files, signal);
    assert.ok(result.kind === 'ran', JSON.stringify(result));
    assert.ok(result.tests.length > 0, block.text);
    for (const { name, outcome, error } of result.tests) assert.equal(outcome, 'pass', `${name} ${error ?? ''}`);
  },
};

const rego: Treatment = {
  name: 'a policy, by compiling it and deciding the input document of its page',
  takes: (block) => block.language === 'rego',
  async check(block, page) {
    await using folder = await tempFolder();
    await writeFile(join(folder.path, 'policy.rego'), block.text);
    const [, name = ''] = /^package ([\w.]+)$/m.exec(block.text) ?? [];
    const entrypoint = `${name.replaceAll('.', '/')}/allow`;
    await assertCompiles(folder.path, entrypoint, block.text.includes('http.send('));
    const input = page.find((other) => inputDocument.takes(other));
    if (input !== undefined) assert.equal(await decide(folder.path, entrypoint, input.text), 'allow');
  },
};

async function assertCompiles(path: string, entrypoint: string, asksNetwork = false): Promise<void> {
  const problems = await checkPolicyFolder({ path, entrypoint, asksNetwork }, new AbortController().signal);
  assert.deepEqual(problems.map(formatProblem), []);
}

async function decide(path: string, entrypoint: string, input: string): Promise<string> {
  const clock = systemClock;
  const engine = createPolicyEngine({
    policies: [{ name: 'default', path, entrypoint }],
    evalTimeoutMs: 5000,
    clock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const stop = new AbortController();
  await engine.start(stop.signal);
  const running = engine.run(stop.signal);
  try {
    const decision = await engine.decide('default', new TextEncoder().encode(input), { deadline: clock.now() + 5000 });
    return decision.effect === 'allow' ? 'allow' : decision.reason;
  } finally {
    stop.abort();
    await running.catch(() => undefined);
  }
}

const inputDocument: Treatment = {
  name: 'an input document, as JSON; its policy decides it',
  takes: (block) => block.language === 'json' && 'svidgate' in (JSON.parse(block.text) as object),
  check: async (block) => {
    const { svidgate } = JSON.parse(block.text) as { readonly svidgate: Yaml };
    assert.deepEqual(Object.keys(svidgate), ['caller', 'peer', 'xfcc', 'jwt', 'policy']);
  },
};

const logLine: Treatment = {
  name: 'a log line, by its fields and its message',
  takes: (block) => block.language === 'json' && 'msg' in (JSON.parse(block.text) as object),
  check: async (block) => assertLogLine(JSON.parse(block.text) as Yaml),
};

function assertLogLine(line: Yaml): void {
  const known = new Set<string>([...LOG_FIELD_NAMES, 'level', 'time', 'msg']);
  assert.deepEqual(
    Object.keys(line).filter((key) => !known.has(key)),
    [],
  );
  const sources = globSync('src/**/*.ts', { cwd: root });
  const message = `'${String(line['msg'])}'`;
  assert.ok(
    sources.some((file) => readFileSync(join(root, file), 'utf8').includes(message)),
    `svidgate never logs ${message}`,
  );
}

const output: Treatment = {
  name: 'what svidgate writes: log lines and samples of metrics, by their catalogues',
  takes: (block) =>
    block.language === 'text' && linesOf(block).every((line) => /^\{"level"|^svidgate_\w+[{ ]/.test(line)),
  async check(block) {
    for (const line of linesOf(block)) {
      if (line.startsWith('{')) assertLogLine(JSON.parse(line) as Yaml);
      else assert.ok((/^\w+/.exec(line)?.[0] ?? '').replace(/_(?:bucket|sum|count)$/, '') in METRIC_CATALOGUE, line);
    }
  },
};

const shadowReport: Treatment = {
  name: 'a report on shadow policies, by a test of its own',
  takes: (block) => block.language === 'text' && block.text.startsWith('$ svidgate policy shadow-report'),
  async check(block) {
    const text = readFileSync(join(root, 'test/docs/shadow-report.test.ts'), 'utf8');
    assert.ok(text.includes(block.page), `${block.page} is not read by it`);
  },
};

const auditLine: Treatment = {
  name: 'a line of the audit log, by its catalogue',
  takes: (block) => block.language === 'text' && linesOf(block).every((line) => /^\{"time":.*"event":/.test(line)),
  async check(block) {
    for (const line of linesOf(block)) {
      const { time, level, event, ...fields } = JSON.parse(line) as Yaml;
      assert.ok(Number.isFinite(Date.parse(String(time))) && level === 'audit', line);
      assert.ok(String(event) in AUDIT_EVENT_MEANINGS, String(event));
      for (const name of Object.keys(fields)) assert.ok(name in AUDIT_FIELD_CATALOGUE, name);
    }
  },
};

/** Ports and sockets of a picture must be those of the configurations beside its page. */
const picture: Treatment = {
  name: 'a picture, by the ports and sockets in it',
  takes: (block) => ['', 'text'].includes(block.language) && /[─│▶▼]/.test(block.text),
  async check(block) {
    const folder = join(root, dirname(block.page));
    const beside = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
    const configurations = beside.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
    for (const [, port, socket] of block.text.matchAll(/:(\d{2,5})\b|(\.\/[\w/]+\.sock)/g)) {
      const pattern = port === undefined ? socket : `port_value: ${port}`;
      assert.ok(pattern !== undefined && configurations.includes(pattern), `${pattern} stands in no configuration`);
    }
  },
};

/** A flowchart whose boxes are rooms or files of the repository, or declared with a text of their own. */
const mermaid: Treatment = {
  name: 'a flowchart, by its structure and the rooms in it',
  takes: (block) => block.language === 'mermaid',
  async check(block) {
    const [head = '', ...lines] = linesOf(block);
    assert.match(head, /^flowchart (?:LR|TB)$/);
    const declared = new Set([...block.text.matchAll(/(\w+)(?:\[[^\]]+\]|\([^)]+\))/g)].map(([, name]) => name));
    for (const line of lines.map((text) => text.trim())) {
      if (/^subgraph \w+\[[^\]]+\]$|^end$/.test(line)) continue;
      const boxes = line.split(/ --> | -\. [^.]+ \.-> | -- [^-]+ --> /);
      assert.ok(boxes.length > 1, `${line}: neither an arrow nor a subgraph`);
      for (const box of boxes) {
        const [, name = ''] = /^([\w/-]+)(?:\[[^\]]+\]|\([^)]+\))?$/.exec(box) ?? assert.fail(`${line}: ${box}`);
        assert.ok(declared.has(name) || existsSync(join(root, 'src', name)), `${name} is neither a room nor declared`);
      }
    }
  },
};

const partOfAWhole: Treatment = {
  name: 'a part of a page whose commands are run as a whole',
  takes: (block) => ['sh', 'console'].includes(block.language) && RUN_AS_A_WHOLE.has(block.page) && !isCovered(block),
  async check(block) {
    assert.ok(existsSync(join(root, RUN_AS_A_WHOLE.get(block.page) ?? '')));
  },
};

/** Lines that take long or need a fresh clone. */
const coveredLines: Treatment = {
  name: 'commands that tests of their own run',
  takes: isCovered,
  async check(block) {
    for (const line of linesOf(block)) {
      const { test, script } = COVERED_LINES.get(commandOf(line)) ?? assert.fail(line);
      assert.ok(existsSync(join(root, test)), `${test} is gone`);
      const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
        readonly scripts: Readonly<Record<string, string>>;
      };
      const started = (scripts[script] ?? assert.fail(`package.json has no script ${script}`)).split(' ');
      for (const file of started.slice(1)) assert.ok(existsSync(join(root, file)), `${file} is gone`);
    }
  },
};

/** Whether tests of their own run all commands of the block. */
export function isCovered(block: CodeBlock): boolean {
  return block.language === 'sh' && linesOf(block).every((line) => COVERED_LINES.has(commandOf(line)));
}

function commandOf(line: string): string {
  return line.replace(/ +#.*$/, '').trim();
}

/** Parsed, not run: what they do is tested in test/integration/. */
const commandLines: Treatment = {
  name: 'command lines of svidgate, by its parser',
  takes: (block) =>
    block.language === 'sh' && linesOf(block).every((line) => /(?:^|^\w+=\S+ |\| )svidgate /.test(line)),
  async check(block) {
    for (const line of linesOf(block)) {
      const [, words = ''] = /svidgate ((?:(?! > ).)*)/.exec(line) ?? [];
      let output = '';
      const terminal = { out: (text: string) => (output += text), err: (text: string) => (output += text) };
      const program = await createProgram({ terminal, finish: () => undefined });
      withoutActions(program);
      // A substitution of the shell stands for one word.
      const env = /^SVIDGATE_CONFIG=(\S+) /.exec(line);
      const args = [
        ...words.replaceAll(/\$\([^)]*\)/g, '1').split(' '),
        ...(env === null ? [] : ['--config', env[1] ?? '']),
      ];
      await program.parseAsync(args, { from: 'user' }).catch((error: unknown) => {
        const isHelp = error instanceof Error && 'code' in error && error.code === 'commander.helpDisplayed';
        assert.ok(isHelp, `${line}: ${output}`);
      });
    }
  },
};

function withoutActions(command: Command): void {
  if (command.commands.length === 0) command.action(() => undefined);
  for (const child of command.commands) withoutActions(child);
}

/** With the named files of the page in the folder, and svidgate in the PATH. */
const consoleBlock: Treatment = {
  name: 'commands with their output, by running them',
  takes: (block) => block.language === 'console',
  async check(block, page) {
    await using folder = await tempFolder();
    const bin = join(folder.path, '.bin');
    await mkdir(bin);
    await symlink(join(root, 'bin/svidgate.mjs'), join(bin, 'svidgate'));
    await symlink(join(root, 'policies'), join(folder.path, 'policies'));
    for (const { file, text } of page) {
      if (file === undefined) continue;
      await mkdir(dirname(join(folder.path, file)), { recursive: true });
      await writeFile(join(folder.path, file), text);
    }
    const env = { ...process.env, PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
    for (const { command, output: expected } of consoleSteps(block.text)) {
      const { stdout, stderr } = await runShell(command, { cwd: folder.path, env });
      assert.equal(visibleText(stdout + stderr), visibleText(expected), command);
    }
  },
};

function linesOf(block: CodeBlock): readonly string[] {
  return block.text.split('\n').filter((line) => line.trim() !== '');
}

export const TREATMENTS: readonly Treatment[] = [
  ...PROXY_TREATMENTS,
  ...OFFLOAD_TREATMENTS,
  entriesFile,
  svidgateConfig,
  envoyBootstrap,
  ...AUTHORING_TREATMENTS,
  policyData,
  regoTests,
  ...RECORD_TREATMENTS,
  rego,
  inputDocument,
  logLine,
  output,
  auditLine,
  shadowReport,
  picture,
  mermaid,
  coveredLines,
  partOfAWhole,
  commandLines,
  consoleBlock,
];

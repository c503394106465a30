import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { createProgram } from '../../../src/cli/program.ts';
import { cli } from '../../support/run-cli.ts';

const SOURCES = fileURLToPath(new URL('../../../src/', import.meta.url));
const silent = { terminal: { out: () => undefined, err: () => undefined }, finish: () => undefined };

/** Every command with the words that call it. */
async function allCommands(): Promise<readonly (readonly [readonly string[], Command])[]> {
  const walk = (command: Command, words: readonly string[]): readonly (readonly [readonly string[], Command])[] => [
    [words, command],
    ...command.commands.flatMap((child) => walk(child, [...words, child.name()])),
  ];
  return walk(await createProgram(silent), []);
}

describe('every command', () => {
  test('has help with an example that names it', async () => {
    for (const [words] of await allCommands()) {
      const { code, out, err } = await cli(...words, '--help');
      assert.deepEqual([code, err], [0, ''], words.join(' '));
      assert.match(
        out,
        new RegExp(`Examples?:\\n(?:  \\$ .*\\n)*?  \\$ .*svidgate ${words.join(' ')}`),
        words.join(' '),
      );
    }
  });

  test('that does something has --output json', async () => {
    for (const [words, command] of await allCommands()) {
      if (command.commands.length > 0) continue;
      const output = command.options.find(({ long }) => long === '--output');
      assert.deepEqual(output?.argChoices?.slice(0, 2), ['text', 'json'], words.join(' '));
    }
  });

  test('is declared without loading what it needs when it runs', () => {
    const seen = new Set<string>();
    const packages = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const [, clause = '', specifier = ''] of readFileSync(file, 'utf8').matchAll(
        /^(?:import|export)\b((?:(?! from )[^;])*) from '([^']+)';/gm,
      )) {
        if (/^ type\b/.test(clause)) continue;
        if (specifier.startsWith('.')) visit(join(dirname(file), specifier));
        else packages.add(specifier);
      }
    };
    visit(join(SOURCES, 'cli/main.ts'));
    const others = [...packages].filter((name) => !name.startsWith('node:'));
    assert.deepEqual(others, ['commander']);
  });
});

describe('a command line that cannot be right', () => {
  const NO_SERVER = ['--socket', '/nowhere/admin.sock'];
  const CASES: readonly (readonly [readonly string[], RegExp])[] = [
    [['entry', 'create', '--x509-svid-ttl', '5 minutes', ...NO_SERVER], /--x509-svid-ttl: a duration is written such/],
    [['entry', 'create', '--expires-at', 'tomorrow', ...NO_SERVER], /--expires-at: expected a time such as/],
    [['entry', 'update', 'a', ...NO_SERVER], /nothing to change/],
    [['entry', 'update', 'a', '--clear', 'spiffe_id', ...NO_SERVER], /--clear spiffe_id: expected one of/],
    [['entry', 'update', 'a', '--clear', 'hint', '--hint', 'x', ...NO_SERVER], /--clear hint: the same field is set/],
    [['entry', 'update', 'a', '--hint', 'x', '--expect-revision', 'new', ...NO_SERVER], /--expect-revision: expected/],
    [['entry', 'show', ...NO_SERVER], /missing required argument 'entry-id'/],
    [['entry', 'list', '--source', 'both', ...NO_SERVER], /Allowed choices are file, api/],
    [['entry', 'import', '/nowhere.yaml', ...NO_SERVER], /cannot read the file: it does not exist/],
    [['svid', 'revoke', ...NO_SERVER], /Name --serial or --spiffe-id/],
    [['svid', 'revoke', '--serial', 'a', '--spiffe-id', 'b', ...NO_SERVER], /cannot be used with option/],
    [['svid', 'revoke', '--serial', 'a', '--reason', 'boredom', ...NO_SERVER], /Allowed choices are unspecified/],
    [['svid', 'fetch', 'jwt', ...NO_SERVER], /whom is the token for/],
    [['svid', 'fetch', '--audience', 'x', ...NO_SERVER], /are for `svid fetch jwt`/],
    [['svid', 'fetch', 'wit', ...NO_SERVER], /Allowed choices are x509, jwt/],
    [['authority', 'prepare', 'pgp', ...NO_SERVER], /Allowed choices are x509, jwt/],
    [['attest', 'explain', 'envoy', ...NO_SERVER], /"envoy" is no process id/],
    [['backup', ...NO_SERVER], /required option '--out <file>' not specified/],
    [['backup', '--out', '/nowhere/b', ...NO_SERVER], /a backup needs a passphrase/],
    [['restore', '--in', 'x'], /required option '--config <file>' not specified/],
    [['status', '--output', 'yaml', ...NO_SERVER], /Allowed choices are text, json/],
    [['status'], /which svidgate\?/],
    [['status', '--socket', 'tcp://127.0.0.1:1'], /is no path of a Unix socket/],
    [['status', '--config', '/nowhere.yaml'], /cannot read the file/],
    [['svidd'], /unknown command 'svidd'/],
  ];
  for (const [args, message] of CASES) {
    test(`${args.filter((word) => !NO_SERVER.includes(word)).join(' ')} ends with 2 and says why`, async () => {
      const { code, out, err } = await cli(...args);
      assert.match(err, message);
      assert.deepEqual([code, out], [2, '']);
    });
  }
});

describe('a server that does not answer', () => {
  for (const args of [['status'], ['entry', 'list'], ['svid', 'fetch'], ['bundle', 'show']]) {
    test(`${args.join(' ')} ends with 1 and says where it looked`, async () => {
      const { code, out, err } = await cli(...args, '--socket', 'unix:///nowhere/admin.sock');
      assert.deepEqual([code, out], [1, '']);
      assert.equal(
        err,
        'svidgate: no svidgate answers on /nowhere/admin.sock: there is no such socket (server_unreachable). ' +
          'Start it with `svidgate serve --config FILE`, or name the socket of the one that runs.\n',
      );
    });
  }
});

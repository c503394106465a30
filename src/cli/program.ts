import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { examples, type CliContext } from './command-line.ts';
import { addAttestGroup } from './groups/attest.ts';
import { addAuthorityGroup } from './groups/authority.ts';
import { addBundleGroup } from './groups/bundle.ts';
import { addEntryGroup } from './groups/entry.ts';
import { addPolicyGroup } from './groups/policy.ts';
import { addConfigGroup, addServe } from './groups/server.ts';
import { addStateCommands } from './groups/state.ts';
import { addStatus } from './groups/status.ts';
import { addSvidGroup } from './groups/svid.ts';

/** All commands, declared; what they do is loaded when one runs. */
export async function createProgram(context: CliContext): Promise<Command> {
  const { terminal } = context;
  const program = new Command('svidgate')
    .description('SPIFFE identities and default-deny Rego decisions for Envoy')
    .version(await readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help for a command')
    .helpCommand('help [command]', 'print help for a command')
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) })
    .showHelpAfterError('(svidgate COMMAND --help shows an example)')
    .exitOverride();
  examples(program, 'svidgate config check svidgate.yaml', 'svidgate serve --config svidgate.yaml', 'svidgate status');
  addServe(program, context);
  addConfigGroup(program, context);
  addStatus(program, context);
  addEntryGroup(program, context);
  addSvidGroup(program, context);
  addBundleGroup(program, context);
  addAuthorityGroup(program, context);
  addPolicyGroup(program, context);
  addAttestGroup(program, context);
  addStateCommands(program, context);
  return program;
}

/** package.json is two folders up, from src/cli as from dist/cli. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

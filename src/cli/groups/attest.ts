import type { Command } from 'commander';
import { clientOptions, examples, type CliContext, type ClientOptions } from '../command-line.ts';

/** `svidgate attest …` */
export function addAttestGroup(program: Command, { terminal, finish }: CliContext): void {
  const group = program.command('attest').description('what svidgate finds out about a process');
  examples(group, 'svidgate attest explain 4711');

  const explain = clientOptions(
    group
      .command('explain')
      .description('show the selectors of a process, which entries match it, and what it lacks for others')
      .argument('<pid>'),
  );
  explain.action(async (pid: string, options: Omit<ClientOptions, 'terminal'>) => {
    const { explainAttestation } = await import('../commands/attest.ts');
    finish(await explainAttestation(pid, { ...options, terminal }));
  });
  examples(explain, 'svidgate attest explain $(pidof envoy)', 'svidgate attest explain 4711 --output json');
}

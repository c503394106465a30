import { Argument, type Command } from 'commander';
import { clientOptions, examples, type CliContext, type ClientOptions } from '../command-line.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** `svidgate authority …` */
export function addAuthorityGroup(program: Command, { terminal, finish }: CliContext): void {
  const group = program.command('authority').description('the keys that sign SVIDs: CAs (x509) and JWT keys (jwt)');
  examples(group, 'svidgate authority show', 'svidgate authority prepare x509');

  const show = clientOptions(group.command('show').description('list all keys with their states'));
  show.action(async (options: Options) => {
    const { showAuthorities } = await import('../commands/authority.ts');
    finish(await showAuthorities({ ...options, terminal }));
  });
  examples(show, 'svidgate authority show', 'svidgate authority show --output json');

  const prepare = clientOptions(
    group
      .command('prepare')
      .description('make the next key and publish it, so that everybody knows it before it signs')
      .addArgument(kindArgument()),
  );
  prepare.action(async (kind: Kind, options: Options) => {
    const { prepareAuthority } = await import('../commands/authority.ts');
    finish(await prepareAuthority(kind, { ...options, terminal }));
  });
  examples(prepare, 'svidgate authority prepare x509');

  for (const { name, description, example } of CHANGES) {
    const command = clientOptions(
      group.command(name).description(description).addArgument(kindArgument()).argument('<authority-id>'),
    );
    command.action(async (kind: Kind, authorityId: string, options: Options) => {
      const { changeAuthority } = await import('../commands/authority.ts');
      finish(await changeAuthority({ ...options, terminal, change: name, kind, authorityId }));
    });
    examples(command, example);
  }
}

export type Kind = 'x509' | 'jwt';

const CHANGES = [
  {
    name: 'activate',
    description: 'sign with a prepared key from now on',
    example: 'svidgate authority activate x509 3f2a9c',
  },
  {
    name: 'taint',
    description: 'distrust an old key: what it signed is issued again, and it can be revoked then',
    example: 'svidgate authority taint x509 3f2a9c',
  },
  {
    name: 'revoke',
    description: 'take a tainted key out of the bundle: what it signed is refused from then on',
    example: 'svidgate authority revoke x509 3f2a9c',
  },
] as const;

function kindArgument(): Argument {
  return new Argument('<kind>', 'which keys').choices(['x509', 'jwt']);
}

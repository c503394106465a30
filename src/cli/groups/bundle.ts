import { Option, type Command } from 'commander';
import { clientOptions, examples, type CliContext, type ClientOptions } from '../command-line.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** `svidgate bundle …` */
export function addBundleGroup(program: Command, { terminal, finish }: CliContext): void {
  const group = program.command('bundle').description('trust bundles: what proves the SVIDs of each trust domain');
  examples(group, 'svidgate bundle show', 'svidgate bundle set partner.test partner.json');

  const show = clientOptions(
    group
      .command('show')
      .description('print a bundle')
      .argument('[trust-domain]', 'whose bundle; the own one when left out'),
  ).addOption(new Option('--format <format>', 'PEM, or SPIFFE JSON').choices(['pem', 'spiffe']).default('pem'));
  show.action(async (trustDomain: string | undefined, options: Options & { readonly format: 'pem' | 'spiffe' }) => {
    const { showBundle } = await import('../commands/bundle.ts');
    finish(await showBundle(trustDomain ?? '', { ...options, terminal }));
  });
  examples(show, 'svidgate bundle show > roots.pem', 'svidgate bundle show partner.test --format spiffe');

  const list = clientOptions(group.command('list').description('list the bundles of all known trust domains'));
  list.action(async (options: Options) => {
    const { listBundles } = await import('../commands/bundle.ts');
    finish(await listBundles({ ...options, terminal }));
  });
  examples(list, 'svidgate bundle list');

  const set = clientOptions(
    group
      .command('set')
      .description('set the bundle of a foreign trust domain')
      .argument('<trust-domain>')
      .argument('<file>', 'PEM or SPIFFE JSON; `-` for standard input'),
  );
  set.action(async (trustDomain: string, file: string, options: Options) => {
    const { setBundle } = await import('../commands/bundle.ts');
    finish(await setBundle(trustDomain, file, { ...options, terminal }));
  });
  examples(
    set,
    'svidgate bundle set partner.test partner.json',
    'curl -s https://partner.test/bundle | svidgate bundle set partner.test -',
  );

  const remove = clientOptions(
    group
      .command('delete')
      .description('forget the bundle of a foreign trust domain: its peers are trusted no longer')
      .argument('<trust-domain>'),
  );
  remove.action(async (trustDomain: string, options: Options) => {
    const { deleteBundle } = await import('../commands/bundle.ts');
    finish(await deleteBundle(trustDomain, { ...options, terminal }));
  });
  examples(remove, 'svidgate bundle delete partner.test');
}

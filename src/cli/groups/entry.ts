import { Option, type Command } from 'commander';
import { clientOptions, examples, repeated, type CliContext, type ClientOptions } from '../command-line.ts';
import type { EntryFlags } from '../entry-flags.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** `svidgate entry …` */
export function addEntryGroup(program: Command, { terminal, finish }: CliContext): void {
  const group = program.command('entry').description('registration entries: who gets which SPIFFE ID');
  examples(
    group,
    'svidgate entry create --spiffe-id spiffe://prod.acme.test/orders --selector unix:uid:1001',
    'svidgate entry list',
  );

  const create = entryFlags(clientOptions(group.command('create').description('make an entry'))).action(
    async (options: Options & EntryFlags) => {
      const { createEntry } = await import('../commands/entry.ts');
      finish(await createEntry({ ...options, terminal }));
    },
  );
  create.addOption(new Option('--entry-id <id>', 'id of the entry; the server makes one when left out'));
  examples(
    create,
    'svidgate entry create --spiffe-id spiffe://prod.acme.test/orders --selector unix:uid:1001 --x509-svid-ttl 30m',
  );

  addList(group, { terminal, finish });

  const show = clientOptions(group.command('show').description('show one entry in full').argument('<entry-id>'));
  show.action(async (entryId: string, options: Options) => {
    const { showEntry } = await import('../commands/entry.ts');
    finish(await showEntry(entryId, { ...options, terminal }));
  });
  examples(show, 'svidgate entry show orders', 'svidgate entry show orders --output json');

  addUpdate(group, { terminal, finish });

  const remove = clientOptions(group.command('delete').description('delete entries').argument('<entry-id...>'));
  remove.action(async (entryIds: readonly string[], options: Options) => {
    const { deleteEntries } = await import('../commands/entry.ts');
    finish(await deleteEntries(entryIds, { ...options, terminal }));
  });
  examples(remove, 'svidgate entry delete orders');

  addImportAndExport(group, { terminal, finish });
}

function addList(group: Command, { terminal, finish }: CliContext): void {
  const list = clientOptions(group.command('list').description('list entries; all conditions given must hold'))
    .option('--spiffe-id <id>', 'entries with this SPIFFE ID')
    .option('--parent-id <id>', 'entries with this parent')
    .option('--selector <selector>', 'entries that have this selector, and maybe more; several may be given', repeated)
    .option('--federates-with <trust domain>', 'entries that federate with this trust domain')
    .option('--hint <hint>', 'entries with this hint')
    .option('--downstream', 'entries for downstream servers')
    .addOption(new Option('--source <source>', 'entries of this source').choices(['file', 'api']));
  list.action(async (options: Options & ListFlags) => {
    const { listEntries } = await import('../commands/entry.ts');
    finish(await listEntries({ ...options, terminal }));
  });
  examples(list, 'svidgate entry list', 'svidgate entry list --selector unix:uid:1001 --output json');
}

/** Conditions of `entry list`. */
export interface ListFlags {
  readonly spiffeId?: string;
  readonly parentId?: string;
  readonly selector?: readonly string[];
  readonly federatesWith?: string;
  readonly hint?: string;
  readonly downstream?: boolean;
  readonly source?: 'file' | 'api';
}

function addUpdate(group: Command, { terminal, finish }: CliContext): void {
  const update = entryFlags(
    clientOptions(group.command('update').description('change the given fields of an entry').argument('<entry-id>')),
  )
    .option('--no-admin', 'take the mark away')
    .option('--no-downstream', 'take the mark away')
    .option('--no-store-svid', 'take the mark away')
    .option('--no-jwt-svid-include-jti', 'leave the random jti out')
    .option('--clear <field>', 'unset a field such as hint or x509_svid_ttl; several may be given', repeated)
    .option('--expect-revision <number>', 'refuse when the entry has another revision by now');
  update.action(async (entryId: string, options: Options & UpdateFlags) => {
    const { updateEntry } = await import('../commands/entry.ts');
    finish(await updateEntry(entryId, { ...options, terminal }));
  });
  examples(
    update,
    'svidgate entry update orders --x509-svid-ttl 10m',
    'svidgate entry update orders --selector unix:uid:1001 --selector unix:gid:1001 --clear hint',
  );
}

/** Flags of `entry update`. */
export interface UpdateFlags extends EntryFlags {
  readonly clear?: readonly string[];
  readonly expectRevision?: string;
}

function addImportAndExport(group: Command, { terminal, finish }: CliContext): void {
  const load = clientOptions(
    group
      .command('import')
      .description("make the entries of a file, in the form of entries.yaml or of SPIRE's JSON; all or none")
      .argument('<file>', '`-` for standard input'),
  ).option('--replace', 'replace entries of the API that have the same id, rather than refuse');
  load.action(async (file: string, options: Options & { readonly replace?: boolean }) => {
    const { importEntries } = await import('../commands/entry-files.ts');
    finish(await importEntries(file, { ...options, terminal }));
  });
  examples(
    load,
    'svidgate entry import entries.yaml',
    'spire-server entry show -output json | svidgate entry import -',
  );

  const save = clientOptions(
    group
      .command('export')
      .description('print entries as JSON that `entry import` and `entries:` of a configuration read'),
  )
    .addOption(new Option('--format <format>', 'whose form').choices(['svidgate', 'spire']).default('svidgate'))
    .addOption(new Option('--source <source>', 'entries of this source').choices(['file', 'api']));
  save.action(async (options: Options & ExportFlags) => {
    const { exportEntries } = await import('../commands/entry-files.ts');
    finish(await exportEntries({ ...options, terminal }));
  });
  examples(save, 'svidgate entry export > entries.json', 'svidgate entry export --format spire > spire.json');
}

/** Flags of `entry export`. */
export interface ExportFlags {
  readonly format: 'svidgate' | 'spire';
  readonly source?: 'file' | 'api';
}

function entryFlags(command: Command): Command {
  return command
    .option('--spiffe-id <id>', 'SPIFFE ID that the entry gives')
    .option('--parent-id <id>', 'SPIFFE ID of its parent')
    .option('--selector <selector>', 'type:value that a caller must have; several may be given', repeated)
    .option('--x509-svid-ttl <duration>', 'lifetime of its X.509-SVIDs, such as 30m')
    .option('--jwt-svid-ttl <duration>', 'lifetime of its JWT-SVIDs, such as 5m')
    .option('--dns-name <name>', 'DNS name in its X.509-SVIDs; several may be given', repeated)
    .option('--federates-with <trust domain>', 'whose bundle its holders receive; several may be given', repeated)
    .option('--hint <hint>', 'tells several SVIDs of one caller apart')
    .option('--expires-at <time>', 'when the entry ends, such as 2027-01-31T12:00:00Z')
    .option('--jwt-svid-include-jti', 'its JWT-SVIDs have a random jti')
    .option('--admin', "kept for SPIRE: its holders may call a SPIRE server's admin API")
    .option('--downstream', 'kept for SPIRE: its holder is a downstream server')
    .option('--store-svid', 'kept for SPIRE: its SVID is put into a secret store');
}

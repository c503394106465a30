import { Argument, Option, type Command } from 'commander';
import { clientOptions, examples, repeated, type CliContext, type ClientOptions } from '../command-line.ts';

type Options = Omit<ClientOptions, 'terminal'>;

/** `svidgate svid …` */
export function addSvidGroup(program: Command, context: CliContext): void {
  const group = program.command('svid').description('fetch SVIDs as a workload does; revoke SVIDs');
  examples(group, 'svidgate svid fetch', 'svidgate svid revoke --spiffe-id spiffe://prod.acme.test/orders');
  addFetch(group, context);
  addRevoke(group, context);
}

/** Flags of `svid fetch`. */
export interface FetchFlags {
  readonly audience?: readonly string[];
  readonly spiffeId?: string;
  readonly write?: string;
}

function addFetch(group: Command, { terminal, finish }: CliContext): void {
  const fetch = clientOptions(
    group
      .command('fetch')
      .description('fetch the SVIDs of this very process through the Workload API')
      .addArgument(new Argument('[kind]', 'X.509-SVIDs or JWT-SVIDs').choices(['x509', 'jwt']).default('x509')),
    'workload socket',
  )
    .option('--audience <name>', 'jwt: whom the token is for; several may be given', repeated)
    .option('--spiffe-id <id>', 'jwt: the identity to get a token for, rather than all')
    .option('--write <folder>', 'x509: write SVIDs, keys and bundles to this folder as PEM, mode 0600');
  fetch.action(async (kind: 'x509' | 'jwt', options: Options & FetchFlags) => {
    const { fetchSvids } = await import('../commands/svid-fetch.ts');
    finish(await fetchSvids(kind, { ...options, terminal }));
  });
  examples(
    fetch,
    'svidgate svid fetch --write ./svids',
    'svidgate svid fetch jwt --audience spiffe://prod.acme.test/orders',
  );

  const watch = clientOptions(
    group.command('watch').description('show the X.509-SVIDs of this very process at each change, until interrupted'),
    'workload socket',
  ).option('--write <folder>', 'write SVIDs, keys and bundles to this folder at each change as PEM, mode 0600');
  watch.action(async (options: Options & Pick<FetchFlags, 'write'>) => {
    const { watchSvids } = await import('../commands/svid-fetch.ts');
    finish(await watchSvids({ ...options, terminal }));
  });
  examples(watch, 'svidgate svid watch', 'svidgate svid watch --write ./svids');
}

/** As RFC 5280 §5.3.1 has them, in the order of the proto's enum from 1. */
export const REASONS = [
  'unspecified',
  'key_compromise',
  'affiliation_changed',
  'superseded',
  'cessation_of_operation',
  'privilege_withdrawn',
] as const;

/** Flags of `svid revoke`. */
export interface RevokeFlags {
  readonly serial?: string;
  readonly spiffeId?: string;
  readonly reason: (typeof REASONS)[number];
}

function addRevoke(group: Command, { terminal, finish }: CliContext): void {
  const revoke = clientOptions(
    group.command('revoke').description('revoke one SVID by its serial, or a SPIFFE ID until that is undone'),
  )
    .addOption(new Option('--serial <serial>', 'serial number in hexadecimal: its holder gets a fresh SVID at once'))
    .addOption(
      new Option('--spiffe-id <id>', 'nothing is issued for it any more, and the gate denies it').conflicts('serial'),
    )
    .addOption(new Option('--reason <reason>', 'why').choices(REASONS).default('unspecified'));
  revoke.action(async (options: Options & RevokeFlags) => {
    const { revokeSvid } = await import('../commands/svid-revoke.ts');
    finish(await revokeSvid({ ...options, terminal }));
  });
  examples(
    revoke,
    'svidgate svid revoke --serial 5f0c19aa --reason key_compromise',
    'svidgate svid revoke --spiffe-id spiffe://prod.acme.test/orders',
  );

  const list = clientOptions(group.command('revocations').description('list what is revoked, oldest first'));
  list.action(async (options: Options) => {
    const { listRevocations } = await import('../commands/svid-revoke.ts');
    finish(await listRevocations({ ...options, terminal }));
  });
  examples(list, 'svidgate svid revocations');

  const undo = clientOptions(
    group
      .command('unrevoke')
      .description('undo a revocation')
      .argument('<revocation-id>', 'as `svidgate svid revocations` prints it'),
  );
  undo.action(async (revocationId: string, options: Options) => {
    const { unrevoke } = await import('../commands/svid-revoke.ts');
    finish(await unrevoke(revocationId, { ...options, terminal }));
  });
  examples(undo, 'svidgate svid unrevoke 2f9c1a');
}

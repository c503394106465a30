export interface DemoOptions {
  readonly kind: 'run';
  /** Leave all running at the end. */
  readonly keep: boolean;
  /** Leave the folder of the run at the end. */
  readonly keepFiles: boolean;
}

export const HELP = `Usage: npm run demo [-- --keep | --keep-files]

Starts svidgate, three Envoys and two services in a temporary folder, on a loopback address of their own,
and prints one row for each check. Exits with 0 only if all passed, and leaves nothing behind.

  --keep         leave all running at the end; prints the addresses and how to stop
  --keep-files   leave the folder with logs and configurations (also SVIDGATE_DEMO_KEEP_FILES=1)
  --help         this text

Example: npm run demo -- --keep
`;

/** Reads the arguments after the script's name. */
export function parseOptions(
  args: readonly string[],
): DemoOptions | { readonly kind: 'help' } | { readonly kind: 'mistake'; readonly message: string } {
  if (args.includes('--help') || args.includes('-h')) return { kind: 'help' };
  const unknown = args.find((arg) => arg !== '--keep' && arg !== '--keep-files');
  if (unknown !== undefined) return { kind: 'mistake', message: `unknown argument ${unknown}` };
  const keep = args.includes('--keep');
  const keepFiles = keep || args.includes('--keep-files') || process.env['SVIDGATE_DEMO_KEEP_FILES'] === '1';
  return { kind: 'run', keep, keepFiles };
}

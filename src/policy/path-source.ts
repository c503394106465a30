import type { Clock } from '../core/index.ts';
import { bundleFileSource, isBundlePath } from './bundle/bundle-file-source.ts';
import { createBundleReader } from './bundle/bundle-reader.ts';
import type { VerifyRules } from './bundle/bundle-verification.ts';
import { createRegoProgram, type RegoProgram } from './rego-program.ts';
import { isRulesPath, rulesSource } from './rules-source.ts';
import { folderSource, type SnapshotSource } from './snapshot-source.ts';

export interface PathSourceOptions {
  readonly clock: Clock;
  /** What reads bundles, shared by those that need it. Default: one of its own. */
  readonly program?: RegoProgram;
  /** Whose signature a bundle must bear. Absent: a signed one is refused. */
  readonly verify?: VerifyRules;
}

/** What a path of `authz.policies` names: a folder with Rego and data, a .rego file, a rules file in YAML, or a bundle. */
export function pathSource(path: string, { clock, program, verify }: PathSourceOptions): SnapshotSource {
  if (isRulesPath(path)) return rulesSource(path, clock);
  if (!isBundlePath(path)) return folderSource(path, clock);
  const reader = createBundleReader(program ?? createRegoProgram({ clock }));
  return bundleFileSource(path, { clock, reader, ...(verify === undefined ? {} : { verify }) });
}

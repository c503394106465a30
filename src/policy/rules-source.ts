import { hash } from 'node:crypto';
import { fileChanges, type Clock } from '../core/index.ts';
import type { SnapshotSource } from './snapshot-source.ts';

export function isRulesPath(path: string): boolean {
  return /\.ya?ml$/.test(path);
}

/** A rules file, which becomes Rego. What changes nothing of that, as a remark does, is no other policy. */
export function rulesSource(path: string, clock: Clock): SnapshotSource {
  return {
    description: path,
    async read() {
      const { readRules } = await import('../authoring/index.ts');
      const { modules, tests } = await readRules(path);
      return { files: { modules, data: {} }, tests, digest: hash('sha256', JSON.stringify(modules)) };
    },
    changes: (signal) => fileChanges(path, { clock, signal }),
  };
}

import type { PolicyEvent } from '../../src/policy/index.ts';
import type { PolicyMemory } from '../../src/policy/live-policy.ts';

/** What outlives an engine, without files. */
export function policyMemory(): PolicyMemory {
  const events: PolicyEvent[] = [];
  const files = new Map<string, Uint8Array>();
  const keyOf = (policy: string, digest: string): string => `${policy} ${digest}`;
  return {
    history: {
      list: (name) => Promise.resolve(events.filter(({ policy }) => policy === name)),
      append: (event) => Promise.resolve(void events.push(event)),
    },
    snapshots: {
      load: (policy, digest) => Promise.resolve(files.get(keyOf(policy, digest))),
      save: (policy, digest, bytes) => Promise.resolve(void files.set(keyOf(policy, digest), bytes)),
      has: (policy, digest) => Promise.resolve(files.has(keyOf(policy, digest))),
    },
  };
}

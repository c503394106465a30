import { describeError, type Logger } from '../core/index.ts';
import {
  compiledPolicyKey,
  decodeCompiledPolicy,
  encodeCompiledPolicy,
  type CompiledPolicy,
  type CompiledPolicyOrigin,
} from './compiled-policy.ts';

/**
 * Where compiled policies outlive the process. It need not be reliable: what it gives back is checked, and what it
 * throws costs a compilation. Whoever may write to it decides what is allowed: it belongs where the CA's key is kept.
 */
export interface CompiledPolicyCache {
  /** The bytes saved for the policy under the key, or undefined when there are none. */
  load(policy: string, key: string): Promise<Uint8Array | undefined>;
  /** `key` is sha256 in hex. Older bytes of the policy may go. */
  save(policy: string, key: string, bytes: Uint8Array): Promise<void>;
}

/** One policy's part of the cache. Never rejects: failures are logged. */
export interface KeptPolicies {
  load(origin: CompiledPolicyOrigin): Promise<CompiledPolicy | undefined>;
  save(origin: CompiledPolicyOrigin, compiled: CompiledPolicy): Promise<void>;
}

export function keptPolicies(policy: string, cache: CompiledPolicyCache, logger: Logger): KeptPolicies {
  return {
    async load(origin) {
      const key = compiledPolicyKey(origin);
      try {
        const bytes = await cache.load(policy, key);
        if (bytes === undefined) return undefined;
        const compiled = decodeCompiledPolicy(key, bytes);
        if (compiled === undefined) logger.warn({ reason: 'it is damaged' }, 'kept policy not used');
        return compiled;
      } catch (error) {
        logger.warn({ reason: describeError(error) }, 'kept policy not used');
        return undefined;
      }
    },
    async save(origin, compiled) {
      const key = compiledPolicyKey(origin);
      try {
        await cache.save(policy, key, encodeCompiledPolicy(key, compiled));
      } catch (error) {
        logger.warn({ reason: describeError(error) }, 'compiled policy not kept');
      }
    },
  };
}

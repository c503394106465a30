import { createMemoryKeyManager } from '../../../../src/authority/index.ts';
import { keyManagerContract } from '../../../support/key-manager-contract.ts';

keyManagerContract('memory', async () => {
  const keys = createMemoryKeyManager();
  return { keys, [Symbol.asyncDispose]: async () => await keys.close() };
});

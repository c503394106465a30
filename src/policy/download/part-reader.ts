import { SvidgateError } from '../../core/index.ts';
import type { BundleReader, BundleSnapshot } from '../bundle/bundle-reader.ts';
import { loadVerification, signersOf, type VerifyRules } from '../bundle/bundle-verification.ts';
import type { PolicySnapshot, SnapshotSource } from '../snapshot-source.ts';

/** From what was downloaded to a policy. `S` is what a later change is made to. */
export interface PartReader<S extends PolicySnapshot = PolicySnapshot> {
  /** Whether what is read has to be signed. A change bears no signature, so that none counts then. */
  readonly verifies: boolean;
  /** See SnapshotSource. */
  readonly signers?: SnapshotSource['signers'];
  /**
   * Unpacks and verifies. Bytes that are a change (a delta bundle) are made to `base`. Throws `policy_invalid` for what is
   * refused; a change without a base, or to another one, is refused.
   */
  read(
    bytes: Uint8Array,
    options: { readonly base: S | undefined; readonly signal: AbortSignal },
  ): Promise<ReadPart<S>>;
}

export interface ReadPart<S extends PolicySnapshot = PolicySnapshot> {
  readonly snapshot: S;
  readonly isDelta: boolean;
}

/** Reads OPA's bundles, with the keys as they are in their files at that time. */
export function createPartReader(reader: BundleReader, verify?: VerifyRules): PartReader<BundleSnapshot> {
  return {
    verifies: verify !== undefined,
    signers: verify === undefined ? undefined : async () => signersOf(await loadVerification(verify)),
    async read(bytes, { base, signal }) {
      const rules = verify === undefined ? {} : { verify: await loadVerification(verify) };
      const found = await reader.read(bytes, { ...rules, signal });
      if (found.kind === 'snapshot') return { snapshot: found.snapshot, isDelta: false };
      if (base === undefined)
        throw new SvidgateError('policy_invalid', 'it is a delta, and there is nothing to change');
      return { snapshot: await reader.applyDelta(base, found.delta, signal), isDelta: true };
    },
  };
}

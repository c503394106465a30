/** OPA's bundles: tar.gz with Rego, data and a manifest, signed or not, and deltas. */
export { bundleFileSource, isBundlePath, type BundleFileOptions } from './bundle-file-source.ts';
export {
  createBundleReader,
  type BundleDelta,
  type BundleReader,
  type BundleSnapshot,
  type ReadBundle,
  type ReadBundleOptions,
} from './bundle-reader.ts';
export {
  BUNDLE_ALGORITHMS,
  loadVerification,
  type BundleAlgorithm,
  type BundleVerification,
  type PolicyKey,
  type VerifyRules,
} from './bundle-verification.ts';
export { BUNDLE_LIMITS, type BundleLimits } from './unpack-bundle.ts';

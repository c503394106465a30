/**
 * federation: the bundles of foreign trust domains.
 * Promises: each domain's bundle stands by itself and has one owner, a file or the API; a mistake in a file leaves the last
 * good bundle. Must not know who receives which bundle.
 */
export {
  openForeignBundles,
  type ForeignBundleSet,
  type ForeignBundleSetOptions,
  type SourcedBundle,
} from './foreign-bundle-set.ts';

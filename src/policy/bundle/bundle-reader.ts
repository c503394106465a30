import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { SvidgateError } from '../../core/index.ts';
import { formatProblem, type PolicyProblem } from '../problem.ts';
import type { RegoProgram } from '../rego-program.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';
import { signersOf, type BundleVerification } from './bundle-verification.ts';
import type { ArchivedFile } from './read-tar.ts';
import { BUNDLE_LIMITS, unpackBundle, type BundleLimits } from './unpack-bundle.ts';

/** A policy from a bundle. Plain data: it may be kept as JSON, but for the bytes of `wasm`. */
export interface BundleSnapshot extends PolicySnapshot {
  /** JSON text of the bundle's manifest, its roots in full: what a delta is measured by. */
  readonly manifest: string;
}

/** Changes to the data of a bundle that is there already. */
export interface BundleDelta {
  readonly manifest: string;
  readonly revision?: string;
  /** JSON text of the operations. */
  readonly patch: string;
}

export type ReadBundle =
  | { readonly kind: 'snapshot'; readonly snapshot: BundleSnapshot }
  | { readonly kind: 'delta'; readonly delta: BundleDelta };

export interface ReadBundleOptions {
  /** Whose signature it must bear. Absent: a signed bundle is refused. */
  readonly verify?: BundleVerification;
  readonly signal: AbortSignal;
}

/**
 * OPA's bundles. OPA's own code reads them, checks the signature and applies deltas, in the compiler's program: what it refuses
 * is refused, and more besides: see unpackBundle. All methods throw `policy_invalid` for what is refused.
 */
export interface BundleReader {
  read(bytes: Uint8Array, options: ReadBundleOptions): Promise<ReadBundle>;
  /** The snapshot with the changes: what `read` would have given for a bundle with them. A signed one takes no delta. */
  applyDelta(base: BundleSnapshot, delta: BundleDelta, signal: AbortSignal): Promise<BundleSnapshot>;
}

const REGO_TEST = '_test.rego';
/** Name of the one data document: all those of the bundle merged. */
const DATA = 'data.json';
const MAX_SHOWN_PROBLEMS = 5;

export function createBundleReader(program: RegoProgram, limits: BundleLimits = BUNDLE_LIMITS): BundleReader {
  const run = async (request: object, signal: AbortSignal): Promise<Response> => {
    const response = (await program.run(request, signal)) as ProgramResponse;
    if (!response.ok) throw refused(response.errors);
    return response;
  };
  return {
    async read(bytes, { verify, signal }) {
      const files = await unpackBundle(bytes, limits);
      const bundle = { files: files.map(toRequest), verification: toVerification(verify) };
      const content = (await run({ op: 'bundle', bundle }, signal)).bundle;
      if (content === undefined) throw new SvidgateError('internal', 'the Rego compiler gave no bundle');
      const { kind, manifest, patch = '[]' } = content;
      const revision = content.revision === '' ? {} : { revision: content.revision };
      if (kind === 'delta') return { kind, delta: { manifest, ...revision, patch } };
      const signer = verify?.keys.find(({ id }) => id === content.signedBy);
      const signed = verify === undefined || signer === undefined ? {} : signatureOf({ ...verify, keys: [signer] });
      return { kind, snapshot: toSnapshot({ ...contentsOf(files, content), manifest, ...revision, ...signed }) };
    },
    async applyDelta(base, { manifest, revision, patch }, signal) {
      if (base.signedBy !== undefined) {
        throw new SvidgateError('policy_invalid', 'a delta is not signed, and the bundle that it changes has to be');
      }
      const delta = { baseManifest: base.manifest, manifest, patch };
      const { data = '{}' } = await run({ op: 'delta', ...base.files, delta }, signal);
      const { revision: _, digest: __, ...rest } = base;
      const files = { modules: base.files.modules, data: { [DATA]: data } };
      return toSnapshot({ ...rest, files, manifest, ...(revision === undefined ? {} : { revision }) });
    },
  };
}

interface Response {
  readonly ok: true;
  readonly bundle?: BundleContent;
  readonly data?: string;
}

type ProgramResponse = Response | { readonly ok: false; readonly errors: readonly PolicyProblem[] };

/** See bundleContent in tools/rego-compiler/bundle.go. */
interface BundleContent {
  readonly kind: 'snapshot' | 'delta';
  readonly revision: string;
  readonly manifest: string;
  readonly signedBy?: string;
  readonly data?: string;
  readonly modules?: readonly string[];
  readonly rewritten?: Readonly<Record<string, string>>;
  readonly wasm?: readonly WasmFile[];
  readonly patch?: string;
}

interface WasmFile {
  readonly path: string;
  readonly entrypoints: readonly string[];
  readonly only: readonly string[];
}

function toRequest({ path, content }: ArchivedFile): { readonly path: string; readonly content: string } {
  const { buffer, byteOffset, byteLength } = content;
  return { path, content: Buffer.from(buffer, byteOffset, byteLength).toString('base64') };
}

/** With one key, that is the one, whatever the signature calls it. With several, the signature names one of them. */
function toVerification(verify: BundleVerification | undefined): object | null {
  if (verify === undefined) return null;
  const { keys, scope, excludeFiles } = verify;
  const [first] = keys;
  return {
    keys: Object.fromEntries(
      keys.map(({ id, algorithm, material }) => [id, { algorithm, key: Buffer.from(material).toString('base64') }]),
    ),
    keyId: keys.length === 1 ? first?.id : '',
    scope,
    exclude: excludeFiles,
  };
}

function signatureOf(verify: BundleVerification): Pick<BundleSnapshot, 'signedBy' | 'verifiedBy'> {
  const [signer] = signersOf(verify);
  return signer === undefined ? {} : { signedBy: signer.name, verifiedBy: signer.verifiedBy };
}

type Contents = Omit<BundleSnapshot, 'digest'>;

function contentsOf(
  files: readonly ArchivedFile[],
  content: BundleContent,
): Pick<Contents, 'files' | 'tests' | 'wasm'> {
  const modules: Record<string, string> = {};
  const tests: Record<string, string> = {};
  const wanted = new Set(content.modules);
  for (const file of files.filter(({ path }) => wanted.has(path))) {
    const { name, path } = file;
    (name.endsWith(REGO_TEST) ? tests : modules)[name] = content.rewritten?.[path] ?? decode(file);
  }
  const wasm = wasmOf(files, content.wasm ?? []);
  const data = { [DATA]: content.data ?? '{}' };
  if (wasm === undefined) return { files: { modules, data }, tests };
  // What is left of the Rego decides nothing, and nobody may take it for the policy: what it denied may be missing.
  return { files: { modules: {}, data }, tests: {}, wasm };
}

/** Where the Rego is whole, it is compiled here, and the module is of no use. */
function wasmOf(files: readonly ArchivedFile[], modules: readonly WasmFile[]): Contents['wasm'] {
  const [needed, second] = modules.filter(({ only }) => only.length > 0);
  if (needed === undefined) return undefined;
  if (second !== undefined) {
    throw new SvidgateError(
      'policy_invalid',
      `rules are in ${needed.path} and ${second.path} alone: build the bundle with \`opa build -t rego\``,
    );
  }
  const bytes = files.find(({ path }) => path === needed.path)?.content ?? new Uint8Array();
  return { bytes: new Uint8Array(bytes), entrypoints: needed.entrypoints };
}

function decode({ name, content }: ArchivedFile): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch (error) {
    throw new SvidgateError('policy_invalid', `${name} is not UTF-8`, { cause: error });
  }
}

/** Over all that decides, and the revision, so that a new one is told of. */
function toSnapshot(contents: Contents): BundleSnapshot {
  const hash = createHash('sha256');
  const add = (name: string, content: string | Uint8Array): void => {
    // Lengths keep apart what a name or a text could pretend to be.
    hash.update(`${Buffer.byteLength(name)}:${name}${Buffer.byteLength(content)}:`).update(content);
  };
  const { modules, data } = contents.files;
  for (const [name, text] of Object.entries({ ...modules, ...data }).toSorted(byName)) add(name, text);
  if (contents.wasm !== undefined) {
    add('policy.wasm', contents.wasm.bytes);
    add('entrypoints', JSON.stringify(contents.wasm.entrypoints));
  }
  if (contents.revision !== undefined) add('revision', contents.revision);
  return { ...contents, digest: hash.digest('hex') };
}

function byName([one]: readonly [string, string], [other]: readonly [string, string]): number {
  return one < other ? -1 : 1;
}

function refused(problems: readonly PolicyProblem[]): SvidgateError {
  const shown = problems
    .slice(0, MAX_SHOWN_PROBLEMS)
    .map((problem) => (problem.code === 'bundle_invalid' ? problem.message : formatProblem(problem)));
  const more = problems.length > shown.length ? ` and ${problems.length - shown.length} more` : '';
  return new SvidgateError('policy_invalid', `the bundle is refused: ${shown.join('; ')}${more}`);
}

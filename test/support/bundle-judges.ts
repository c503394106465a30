/** Judges bundles by svidgate's reader and by OPA's own. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto';
import { SvidgateError, systemClock } from '../../src/core/index.ts';
import {
  createBundleReader,
  type BundleAlgorithm,
  type BundleReader,
  type BundleVerification,
} from '../../src/policy/bundle/index.ts';
import { createRegoProgram } from '../../src/policy/rego-program.ts';
import { startOpaBundles, type OpaBundles, type OpaVerification } from './opa-bundles.ts';

export const REGO = 'package envoy.authz\n\ndefault allow := false\n\nallow if input.user in data.envoy.users\n';
const DATA = '{"envoy": {"users": ["ann", "bob"], "limit": 1.50, "big": 12345678901234567890, "text": "<é\\u2028>"}}';
/** A folder that OPA builds bundles of. */
export const POLICY_FILES = { 'envoy/authz.rego': REGO, 'data.json': DATA };

export interface PemPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

export function pemPair(kind: 'rsa' | 'ed25519' | 'P-256' | 'P-384' | 'P-521'): PemPair {
  const { privateKey, publicKey } = keyPair(kind);
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

function keyPair(kind: 'rsa' | 'ed25519' | 'P-256' | 'P-384' | 'P-521'): KeyPairKeyObjectResult {
  if (kind === 'ed25519') return generateKeyPairSync(kind);
  if (kind === 'rsa') return generateKeyPairSync(kind, { modulusLength: 2048 });
  return generateKeyPairSync('ec', { namedCurve: kind });
}

/** How a bundle is to be verified, in the terms of both. */
export interface Rules {
  readonly algorithm: BundleAlgorithm;
  readonly publicKey: string;
  readonly id?: string;
  readonly scope?: string;
  readonly exclude?: readonly string[];
  /** A second key, so that the signature has to name one. */
  readonly second?: string;
}

export interface BundleCase {
  readonly name: string;
  readonly bundle: Uint8Array;
  readonly rules?: Rules;
  readonly taken: boolean;
  /** OPA takes it all the same: see docs/compatibility.md. */
  readonly stricter?: true;
}

export type Verdict =
  | { readonly taken: false; readonly reason: string }
  | { readonly taken: true; readonly data: string; readonly revision: string };

export interface BundleJudges extends AsyncDisposable {
  readonly opa: OpaBundles;
  readonly reader: BundleReader;
  /** What svidgate makes of a bundle, and what OPA does. */
  verdicts(bundle: Uint8Array, rules?: Rules): Promise<readonly [we: Verdict, they: Verdict]>;
  /** Both take or refuse each as it says, and what they take is the same. */
  compare(cases: readonly BundleCase[]): Promise<void>;
}

export async function startBundleJudges(): Promise<BundleJudges> {
  const opa = await startOpaBundles();
  const reader = createBundleReader(createRegoProgram({ clock: systemClock, timeLimitMs: 60_000 }));
  const verdicts: BundleJudges['verdicts'] = async (bundle, rules) =>
    await Promise.all([ourVerdict(reader, bundle, rules), opaVerdict(opa, bundle, rules)]);
  return {
    opa,
    reader,
    verdicts,
    async compare(cases) {
      for (const { name, bundle, rules, taken, stricter } of cases) {
        const [we, they] = await verdicts(bundle, rules);
        const said = `${name}: svidgate ${JSON.stringify(we)}, OPA ${JSON.stringify(they)}`;
        assert.equal(we.taken, taken, said);
        assert.equal(they.taken, taken || stricter === true, said);
        if (we.taken && they.taken) assert.deepEqual(we, they, said);
      }
    },
    [Symbol.asyncDispose]: () => opa[Symbol.asyncDispose](),
  };
}

/** What `take` gives, or the reason why it was refused for good. Any other error is one of the test. */
export async function verdictOf(take: () => Promise<Verdict>): Promise<Verdict> {
  try {
    return await take();
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'policy_invalid', String(error));
    return { taken: false, reason: error.message };
  }
}

async function ourVerdict(reader: BundleReader, bundle: Uint8Array, rules?: Rules): Promise<Verdict> {
  return await verdictOf(async () => {
    const signal = new AbortController().signal;
    const read = await reader.read(bundle, {
      ...(rules === undefined ? {} : { verify: toVerification(rules) }),
      signal,
    });
    if (read.kind === 'delta') return { taken: false, reason: 'it is a delta' };
    return { taken: true, data: read.snapshot.files.data['data.json'] ?? '', revision: read.snapshot.revision ?? '' };
  });
}

async function opaVerdict(opa: OpaBundles, bundle: Uint8Array, rules?: Rules): Promise<Verdict> {
  const reading = await opa.activate([bundle], rules === undefined ? undefined : toOpaVerification(rules));
  if (reading.kind === 'refused') return { taken: false, reason: reading.reason };
  return { taken: true, data: reading.data, revision: reading.revision };
}

/** The first key is called `release`. */
export function toVerification(rules: Rules): BundleVerification {
  const { algorithm, publicKey, id = 'release', scope = '', exclude = [], second } = rules;
  const keys = [{ name: 'release', id, algorithm, material: Buffer.from(publicKey) }];
  const more = { name: 'second', id: 'second', algorithm, material: Buffer.from(second ?? '') };
  return { keys: second === undefined ? keys : [...keys, more], scope, excludeFiles: exclude };
}

function toOpaVerification(rules: Rules): OpaVerification {
  const { algorithm, publicKey, id = 'release', scope = '', exclude = [], second } = rules;
  const keys = { [id]: { key: publicKey, algorithm } };
  if (second === undefined) return { keys, keyId: id, scope, exclude };
  return { keys: { ...keys, second: { key: second, algorithm } }, keyId: '', scope, exclude };
}

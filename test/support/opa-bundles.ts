import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from './go-program.ts';

/** How OPA signs. */
export interface OpaSigning {
  /** PEM, or the secret itself. */
  readonly key: string;
  readonly algorithm: string;
  readonly keyId?: string;
  /** Claims beside the files. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** How OPA is configured to verify. */
export interface OpaVerification {
  readonly keys: Readonly<
    Record<string, { readonly key: string; readonly algorithm: string; readonly scope?: string }>
  >;
  readonly keyId?: string;
  readonly scope?: string;
  readonly exclude?: readonly string[];
}

export interface OpaBuild {
  readonly files: Readonly<Record<string, string>>;
  readonly target?: 'rego' | 'wasm' | 'plan';
  readonly entrypoints?: readonly string[];
  readonly optimize?: number;
  readonly revision?: string;
  readonly regoVersion?: number;
  readonly signing?: OpaSigning;
}

export interface ListedFile {
  readonly name: string;
  readonly hash: string;
  readonly algorithm: string;
}

/** What OPA makes of bundles that are activated one after the other. */
export type OpaReading =
  | { readonly kind: 'refused'; readonly reason: string }
  | {
      readonly kind: 'taken';
      /** JSON text of the data. */
      readonly data: string;
      readonly revision: string;
      /** Of the query, if there was one; null for undefined. */
      readonly value: unknown;
    };

/** OPA's own packages: test/conformance/opa-bundles. */
export interface OpaBundles extends AsyncDisposable {
  /** `opa build -b` on a folder with these files. */
  build(build: OpaBuild): Promise<Buffer>;
  delta(patch: unknown, manifest: unknown): Promise<Buffer>;
  /** The token of a .signatures.json. */
  sign(listed: readonly ListedFile[], signing: OpaSigning): Promise<string>;
  activate(bundles: readonly Uint8Array[], verification?: OpaVerification): Promise<OpaReading>;
  /** The same, and the value of a query such as `data.envoy.authz.allow`. */
  evaluate(bundles: readonly Uint8Array[], query: string, input: unknown): Promise<OpaReading>;
}

interface Answer {
  readonly refused?: string;
  readonly bundle?: string;
  readonly token?: string;
  readonly data?: string;
  readonly revision?: string;
  readonly value: unknown;
}

export async function startOpaBundles(): Promise<OpaBundles> {
  const program = await buildGoProgram(fileURLToPath(new URL('../conformance/opa-bundles', import.meta.url)));
  const opa = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: opa.stdout })[Symbol.asyncIterator]();
  let before = Promise.resolve();
  const ask = async (question: object): Promise<Answer> => {
    const mine = before.then(async () => {
      opa.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error('the Go program ended');
      return JSON.parse(value) as Answer;
    });
    before = mine.then(() => undefined);
    return await mine;
  };
  const made = async (question: object): Promise<Answer> => {
    const answer = await ask(question);
    if (answer.refused !== undefined) throw new Error(`OPA does not make it: ${answer.refused}`);
    return answer;
  };
  const toReading = ({ refused, data = '{}', revision = '', value }: Answer): OpaReading =>
    refused === undefined ? { kind: 'taken', data, revision, value } : { kind: 'refused', reason: refused };
  return {
    async build({ files, target = 'rego', ...rest }) {
      const encoded = Object.fromEntries(
        Object.entries(files).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
      );
      const { bundle = '' } = await made({ op: 'build', files: encoded, target, ...rest });
      return Buffer.from(bundle, 'base64');
    },
    async delta(patch, manifest) {
      const { bundle = '' } = await made({ op: 'delta', patch, manifest });
      return Buffer.from(bundle, 'base64');
    },
    async sign(listed, signing) {
      return (await made({ op: 'sign', listed, signing })).token ?? '';
    },
    async activate(bundles, verification) {
      const encoded = bundles.map((bundle) => Buffer.from(bundle).toString('base64'));
      return toReading(await ask({ op: 'read', bundles: encoded, verification }));
    },
    async evaluate(bundles, query, input) {
      const encoded = bundles.map((bundle) => Buffer.from(bundle).toString('base64'));
      return toReading(await ask({ op: 'eval', bundles: encoded, query, input }));
    },
    async [Symbol.asyncDispose]() {
      const exited = once(opa, 'exit');
      opa.stdin.end();
      await exited;
    },
  };
}

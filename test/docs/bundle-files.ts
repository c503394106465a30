import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/core/index.ts';
import { createPolicyTools } from '../../src/policy/index.ts';
import { root } from '../../tools/setup/paths.mjs';
import type { CodeBlock } from './markdown.ts';

interface Named {
  readonly authz?: {
    readonly policy_keys?: Readonly<Record<string, { readonly public_key_file?: string }>>;
    readonly policies?: Readonly<Record<string, { readonly path?: string; readonly verify?: object }>>;
  };
}

/** The bundles that a configuration names, of the shipped policy, and the key that all of them are signed with: ES256. */
export async function writeBundles(folder: string, config: Readonly<Record<string, unknown>>): Promise<void> {
  const { authz } = config as Named;
  const policies = Object.values(authz?.policies ?? {}).filter(({ path }) => path?.endsWith('.tar.gz'));
  const keys = Object.values(authz?.policy_keys ?? {}).flatMap((key) => key.public_key_file ?? []);
  if (policies.length === 0 && keys.length === 0) return;
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = pair.publicKey.export({ type: 'spki', format: 'pem' });
  for (const file of keys) await writeFile(join(folder, file), publicKey);
  const tools = createPolicyTools({ clock: systemClock });
  const { signal } = new AbortController();
  const snapshot = await tools.source(join(root, 'policies/rego')).read(signal);
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  for (const { path = '', verify } of policies) {
    const signing = verify === undefined ? {} : { signing: { key, algorithm: 'ES256', keyId: '' } };
    const packed = await tools.pack(snapshot, 'envoy/authz/allow', { revision: 'v1', ...signing, signal });
    if (packed.kind === 'refused') throw new Error(JSON.stringify(packed.problems));
    await writeFile(join(folder, path), packed.bytes);
  }
}

/** Rego that the shell of a page writes: `cat > NAME.rego <<'END'`. */
export async function writeHereDocuments(folder: string, page: readonly CodeBlock[]): Promise<void> {
  for (const { text } of page.filter(({ language }) => language === 'sh')) {
    for (const [, name = '', content = ''] of text.matchAll(/^cat > (\w+\.rego) <<'END'\n([^]*?)^END$/gm)) {
      await writeFile(join(folder, name), content);
    }
  }
}

/** Signed bundles, and what tampering makes of them, are taken or refused as OPA's own reader does. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { BundleAlgorithm } from '../../src/policy/bundle/index.ts';
import {
  pemPair,
  POLICY_FILES,
  startBundleJudges,
  type BundleCase,
  type BundleJudges,
  type PemPair,
  type Rules,
} from '../support/bundle-judges.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import type { ListedFile } from '../support/opa-bundles.ts';
import { retarGz, tarGz, untarGz } from '../support/tar-file.ts';

const SECRET = 'a secret of at least sixty-four bytes, which HS512 asks for: 0123456789';
const rsa = pemPair('rsa');
const other = pemPair('rsa');
const PAIRS: Readonly<Record<string, PemPair>> = {
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  ES256: pemPair('P-256'),
  ES384: pemPair('P-384'),
  ES512: pemPair('P-521'),
  HS256: { privateKey: SECRET, publicKey: SECRET },
  HS384: { privateKey: SECRET, publicKey: SECRET },
  HS512: { privateKey: SECRET, publicKey: SECRET },
  EdDSA: pemPair('ed25519'),
};

let judges: BundleJudges;

before(async () => (judges = await startBundleJudges()), { timeout: BUILD_LIMIT_MS });

after(() => judges[Symbol.asyncDispose]());

describe('bundles that OPA signed', () => {
  test('signed with each algorithm', async () => {
    for (const [algorithm, { privateKey, publicKey }] of Object.entries(PAIRS)) {
      const bundle = await judges.opa.build({
        files: POLICY_FILES,
        revision: algorithm,
        signing: { key: privateKey, algorithm, keyId: 'release' },
      });
      const rules = { algorithm: algorithm as BundleAlgorithm, publicKey };
      await judges.compare([
        { name: algorithm, bundle, rules, taken: true },
        {
          name: `${algorithm} by another key`,
          bundle,
          rules: { algorithm: 'RS256', publicKey: other.publicKey },
          taken: false,
        },
        { name: `${algorithm} without a key`, bundle, taken: false },
      ]);
    }
  });
});

describe('a signed bundle that was tampered with', () => {
  const rules: Rules = { algorithm: 'RS256', publicKey: rsa.publicKey };
  const signing = { key: rsa.privateKey, algorithm: 'RS256', keyId: 'release' };
  let files: Map<string, Buffer>;
  let bundle: Buffer;

  before(async () => {
    bundle = await judges.opa.build({
      files: { ...POLICY_FILES, '.manifest': '{"roots": ["envoy"]}' },
      revision: 'one',
      target: 'wasm',
      entrypoints: ['envoy/authz/allow'],
      signing,
    });
    files = untarGz(bundle);
  });

  /** With some files in the place of others; undefined takes one out. */
  function altered(changes: Readonly<Record<string, string | Uint8Array | undefined>>): Buffer {
    const changed = new Map<string, string | Uint8Array>(files);
    for (const [name, content] of Object.entries(changes)) {
      changed.delete(name);
      if (content !== undefined) changed.set(name, content);
    }
    return retarGz(changed);
  }

  test('in each of its parts', async () => {
    assert.deepEqual([...files.keys()].toSorted(), [
      '/.manifest',
      '/.signatures.json',
      '/data.json',
      '/envoy/authz.rego',
      '/policy.wasm',
    ]);
    const cases: BundleCase[] = [{ name: 'as it is, packed again', bundle: altered({}), rules, taken: true }];
    for (const [name, content] of files) {
      const flipped = Buffer.from(content);
      const at = content.indexOf('e');
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      cases.push(
        { name: `${name} changed`, bundle: altered({ [name]: flipped }), rules, taken: false },
        { name: `${name} removed`, bundle: altered({ [name]: undefined }), rules, taken: false },
      );
      // OPA looks for the signatures by the last part of the name.
      const bundle = altered({ [name]: undefined, [`/x${name}`]: content });
      cases.push({ name: `${name} renamed`, bundle, rules, taken: name === '/.signatures.json' });
    }
    await judges.compare(cases);
  });

  test('by what is added, or written otherwise', async () => {
    const data = files.get('/data.json')?.toString() ?? '';
    const manifest = files.get('/.manifest')?.toString() ?? '';
    const text = (changed: string): Buffer => altered({ '/data.json': changed });
    await judges.compare([
      { name: 'Rego added', bundle: altered({ '/envoy/more.rego': 'package envoy.more' }), rules, taken: false },
      { name: 'any file added', bundle: altered({ '/README.md': 'text' }), rules, taken: false },
      { name: 'data added', bundle: altered({ '/envoy/data.json': '{"more": 1}' }), rules, taken: false },
      { name: 'white space in data', bundle: text(data.replaceAll(',', ' ,\n')), rules, taken: true },
      { name: 'escapes in data', bundle: text(data.replace('ann', '\\u0061nn')), rules, taken: true },
      { name: 'a number written otherwise', bundle: text(data.replace('1.50', '1.5')), rules, taken: false },
      {
        name: 'a key twice, the last as signed',
        bundle: text(data.replace('{"envoy"', '{"envoy":1,"envoy"')),
        rules,
        taken: true,
      },
      {
        name: 'a key twice, the last not as signed',
        bundle: text(data.replace(/\}\s*$/, ',"envoy":{}}')),
        rules,
        taken: false,
      },
      { name: 'text behind the data', bundle: text(`${data} {}`), rules, taken: false },
      {
        name: 'a wrong revision',
        bundle: altered({ '/.manifest': manifest.replace('"one"', '"two"') }),
        rules,
        taken: false,
      },
      {
        name: 'other roots',
        bundle: altered({ '/.manifest': manifest.replace('["envoy"]', '[""]') }),
        rules,
        taken: false,
      },
      { name: 'white space in the manifest', bundle: altered({ '/.manifest': `\n${manifest}\n` }), rules, taken: true },
      {
        name: 'signatures twice',
        bundle: altered({ '/x/.signatures.json': files.get('/.signatures.json') }),
        rules,
        taken: false,
      },
      {
        name: 'signatures elsewhere only',
        bundle: altered({ '/.signatures.json': undefined, '/x/.signatures.json': files.get('/.signatures.json') }),
        rules,
        taken: true,
      },
    ]);
  });

  test('in its signature', async () => {
    const { signatures } = JSON.parse(files.get('/.signatures.json')?.toString() ?? '') as { signatures: [string] };
    const [token] = signatures;
    const [header = '', payload = '', signature = ''] = token.split('.');
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const withToken = (...tokens: readonly string[]): Buffer =>
      altered({ '/.signatures.json': JSON.stringify({ signatures: tokens }) });
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { files: ListedFile[] };
    const byPublicKey = await judges.opa.sign(claims.files, {
      key: rsa.publicKey,
      algorithm: 'HS256',
      keyId: 'release',
    });
    const byOther = await judges.opa.sign(claims.files, {
      key: other.privateKey,
      algorithm: 'RS256',
      keyId: 'release',
    });
    const scoped = await judges.opa.sign(claims.files, { ...signing, claims: { scope: 'read', keyid: 'release' } });
    const unnamed = await judges.opa.sign(claims.files, {
      key: rsa.privateKey,
      algorithm: 'RS256',
      claims: { iss: 'x' },
    });
    const oldName = await judges.opa.sign(claims.files, {
      key: rsa.privateKey,
      algorithm: 'RS256',
      claims: { keyid: 'second' },
    });
    const second = await judges.opa.sign(claims.files, { ...signing, key: other.privateKey, keyId: 'second' });
    const two = { ...rules, second: other.publicKey };
    await judges.compare([
      {
        name: 'no algorithm',
        bundle: withToken(`${encode({ alg: 'none', kid: 'release' })}.${payload}.`),
        rules,
        taken: false,
      },
      { name: 'the public key as a secret', bundle: withToken(byPublicKey), rules, taken: false },
      { name: 'by another key', bundle: withToken(byOther), rules, taken: false },
      {
        name: 'another header',
        bundle: withToken(`${encode({ alg: 'RS256' })}.${payload}.${signature}`),
        rules,
        taken: false,
      },
      {
        name: 'another payload',
        bundle: withToken(`${header}.${encode({ ...claims, files: [] })}.${signature}`),
        rules,
        taken: false,
      },
      { name: 'a shorter signature', bundle: withToken(token.slice(0, -4)), rules, taken: false },
      { name: 'padding', bundle: withToken(`${token}==`), rules, taken: false },
      { name: 'no token', bundle: withToken(), rules, taken: false },
      { name: 'the token twice', bundle: withToken(token, token), rules, taken: false },
      { name: 'no JSON', bundle: altered({ '/.signatures.json': '{' }), rules, taken: false },
      { name: 'an empty object', bundle: altered({ '/.signatures.json': '{}' }), rules, taken: false },
      {
        name: 'a verifier that is not there',
        bundle: altered({ '/.signatures.json': JSON.stringify({ signatures: [token], plugin: 'x' }) }),
        rules,
        taken: false,
      },
      { name: 'with a scope that is not asked for', bundle: withToken(scoped), rules, taken: false },
      { name: 'with the scope', bundle: withToken(scoped), rules: { ...rules, scope: 'read' }, taken: true },
      { name: 'with another scope', bundle: withToken(scoped), rules: { ...rules, scope: 'write' }, taken: false },
      { name: 'without the scope', bundle: withToken(token), rules: { ...rules, scope: 'read' }, taken: false },
      {
        name: 'an id that is not configured, of one key',
        bundle: withToken(token),
        rules: { ...rules, id: 'x' },
        taken: true,
      },
      { name: 'one of two keys', bundle: withToken(token), rules: two, taken: true },
      { name: 'the other of two keys', bundle: withToken(second), rules: two, taken: true },
      { name: 'the one with the id of the other', bundle: withToken(oldName), rules: two, taken: false },
      { name: 'no id, with one key', bundle: withToken(unnamed), rules, taken: true },
      { name: 'no id, with two keys', bundle: withToken(unnamed), rules: two, taken: false },
    ]);
  });

  test('files that need not be signed', async () => {
    const more = altered({ '/notes/README.md': 'text', '/envoy/more.rego': 'package envoy.more' });
    const exclude = (patterns: readonly string[]): Rules => ({ ...rules, exclude: patterns });
    await judges.compare([
      { name: 'both', bundle: more, rules: exclude(['notes/*', 'envoy/more.rego']), taken: true },
      { name: 'one of two', bundle: more, rules: exclude(['notes/*']), taken: false },
      { name: 'a folder', bundle: more, rules: exclude(['notes', 'envoy']), taken: false },
      { name: 'a star ends at a slash', bundle: more, rules: exclude(['*']), taken: false },
      { name: 'a signed one', bundle: altered({ '/data.json': '{}' }), rules: exclude(['data.json']), taken: true },
      { name: 'a wrong pattern', bundle: more, rules: exclude(['[']), taken: false },
    ]);
  });

  test('each hash', async () => {
    const content = 'package envoy.x\n';
    const archive = (token: string): Buffer =>
      tarGz([
        { path: 'x.rego', content },
        { path: '.signatures.json', content: JSON.stringify({ signatures: [token] }) },
      ]);
    const cases: BundleCase[] = [];
    for (const [algorithm, name] of [
      ['MD5', 'md5'],
      ['SHA-1', 'sha1'],
      ['SHA-224', 'sha224'],
      ['SHA-256', 'sha256'],
      ['SHA-384', 'sha384'],
      ['SHA-512', 'sha512'],
      ['SHA-512-224', 'sha512-224'],
      ['SHA-512-256', 'sha512-256'],
    ] as const) {
      const listed = { name: 'x.rego', hash: hash(name, content), algorithm };
      const wrong = { ...listed, hash: hash(name, `${content} `) };
      cases.push(
        { name: algorithm, bundle: archive(await judges.opa.sign([listed], signing)), rules, taken: true },
        {
          name: `${algorithm} of another text`,
          bundle: archive(await judges.opa.sign([wrong], signing)),
          rules,
          taken: false,
        },
      );
    }
    for (const algorithm of ['', 'sha-256', 'SHA-3', 'CRC32']) {
      const listed = { name: 'x.rego', hash: hash('sha256', content), algorithm };
      cases.push({ name: algorithm, bundle: archive(await judges.opa.sign([listed], signing)), rules, taken: false });
    }
    await judges.compare(cases);
  });
});

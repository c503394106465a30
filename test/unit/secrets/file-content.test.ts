import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { toGenericSecret, toTlsCertificate, toValidationContext } from '../../../src/secrets/file-content.ts';
import { makeOutsideCa, OUTSIDE_KEYS } from '../../support/outside-ca.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { makeCertificate } from './support.ts';

const run = promisify(execFile);
let folder: TempFolder;
let ca: string;
let leaf: string;
let leafKey: string;

before(async () => {
  folder = await tempFolder();
  await makeOutsideCa(folder.path, { name: 'ca' });
  await makeCertificate(folder.path, { name: 'leaf', issuer: 'ca' });
  ca = await text('ca.pem');
  leaf = await text('leaf.pem');
  leafKey = await text('leaf.key');
});
after(() => folder[Symbol.asyncDispose]());

function text(name: string): Promise<string> {
  return readFile(join(folder.path, name), 'utf8');
}

async function openssl(...args: readonly string[]): Promise<string> {
  return (await run('openssl', args, { cwd: folder.path })).stdout;
}

/** What is refused, and why; never a word of a key. */
function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'config_invalid', String(error));
    for (const line of leafKey.split('\n').filter((one) => one.length > 20 && !one.includes('-----'))) {
      assert.ok(!`${error.message} ${String(error.cause)}`.includes(line), 'the key is in the error');
    }
    return error.message;
  }
  return 'taken';
}

function tlsCertificate(chain: string, key: string): Extract<ReturnType<typeof toTlsCertificate>, { serial: string }> {
  const content = toTlsCertificate(Buffer.from(chain), Buffer.from(key));
  assert.ok(content.kind === 'tls_certificate');
  return content;
}

describe('a certificate with its key', () => {
  for (const key of Object.keys(OUTSIDE_KEYS) as (keyof typeof OUTSIDE_KEYS)[]) {
    test(`is taken with ${key}, and what comes out of it openssl takes`, async () => {
      const name = `own-${key}`;
      await makeCertificate(folder.path, { name, key });
      const content = tlsCertificate(await text(`${name}.pem`), await text(`${name}.key`));
      await writeFile(join(folder.path, `${name}.out.pem`), content.certificateChain);
      await writeFile(join(folder.path, `${name}.out.key`), content.privateKey);
      const ofCertificate = await openssl('x509', '-in', `${name}.out.pem`, '-noout', '-pubkey');
      assert.equal(await openssl('pkey', '-in', `${name}.out.key`, '-pubout'), ofCertificate);
      assert.match(content.privateKey, /^-----BEGIN PRIVATE KEY-----\n/);
      const { serialNumber, validToDate } = new X509Certificate(content.certificateChain);
      assert.equal(content.serial, serialNumber.toLowerCase().replace(/^0+(?=.)/, ''));
      assert.equal(content.notAfter, validToDate.getTime());
    });
  }

  test('is given with one block for each certificate and nothing else', () => {
    const { certificateChain } = tlsCertificate(`subject=/CN=leaf\r\n${leaf}\n# issuer\n${ca}${leafKey}`, leafKey);
    assert.equal(certificateChain, leaf + ca);
  });

  test('may stand in one file with its key, which may have parameters before it', async () => {
    await openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', 'parameters.key');
    assert.match(await text('parameters.key'), /EC PARAMETERS[^]*EC PRIVATE KEY/);
    await openssl('req', '-x509', '-key', 'parameters.key', '-subj', '/CN=x', '-days', '9', '-out', 'parameters.pem');
    const both = (await text('parameters.key')) + (await text('parameters.pem'));
    assert.match(tlsCertificate(both, both).privateKey, /^-----BEGIN PRIVATE KEY-----\n/);
  });

  test('is taken after its end, too: the file is the word of the operator', async () => {
    await makeCertificate(folder.path, { name: 'ended', days: -1 });
    assert.ok(tlsCertificate(await text('ended.pem'), await text('ended.key')).notAfter < Date.now());
  });

  test('is refused when anything about it is wrong', async () => {
    await openssl('pkey', '-in', 'leaf.key', '-aes128', '-passout', 'pass:x', '-out', 'encrypted.key');
    await openssl('genrsa', '-traditional', '-aes128', '-passout', 'pass:x', '-out', 'old-encrypted.key', '2048');
    await openssl('genrsa', '-out', 'short.key', '1024');
    await openssl('req', '-x509', '-key', 'short.key', '-subj', '/CN=x', '-out', 'short.pem');
    await openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:secp256k1', '-out', 'curve.key');
    const pss = ['-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'];
    await openssl('genpkey', ...pss, '-out', 'pss.key');
    const noUsable = /^the private key is none of /;
    const cases: readonly (readonly [string, string, RegExp])[] = [
      ['', leafKey, /^no certificate/],
      [leafKey, leafKey, /^no certificate/],
      [leaf, '', /^no private key/],
      [leaf, leaf, /^no private key/],
      [ca + leaf, leafKey, /not that of the first certificate/],
      [leaf, await text('ca.key'), /not that of the first certificate/],
      [leaf, leafKey + leafKey, /^more than one private key/],
      [leaf, await text('encrypted.key'), /is encrypted$/],
      [leaf, await text('old-encrypted.key'), /is encrypted$/],
      [await text('short.pem'), await text('short.key'), noUsable],
      [leaf, await text('curve.key'), noUsable],
      [leaf, await text('pss.key'), noUsable],
      [leaf, leafKey.replace(/\n(.)/, '\n!$1'), /cannot be parsed$/],
      [leaf, leafKey.slice(0, -20), /damaged or cut off/],
      [leaf.slice(0, -20), leafKey, /damaged or cut off/],
      [leaf + ca.slice(0, 200), leafKey, /damaged or cut off/],
      [leaf + ca.replace(/\n(.)/, '\n!$1'), leafKey, /damaged or cut off/],
      [leaf + ca.replace('-----END CERTIFICATE-----', ''), leafKey, /damaged or cut off/],
      [leaf + ca.replace('-----BEGIN CERTIFICATE-----', ''), leafKey, /damaged or cut off/],
      [leaf + ca.replace(/MII[^]{8}/, 'AAAAAAAAAAA'), leafKey, /cannot be parsed/],
      [leaf + ca.repeat(16), leafKey, /^more than 16/],
    ];
    for (const [chain, key, reason] of cases)
      assert.match(
        reasonOf(() => tlsCertificate(chain, key)),
        reason,
      );
  });
});

describe('a CA file', () => {
  const contextOf = (file: string): string => {
    const content = toValidationContext(Buffer.from(file));
    assert.ok(content.kind === 'validation_context');
    return content.ca;
  };

  test('gives its certificates and revocation lists, and nothing else of it', async () => {
    await writeFile(join(folder.path, 'index.txt'), '');
    await writeFile(
      join(folder.path, 'ca.cnf'),
      '[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ndefault_md=sha256\n',
    );
    const signer = ['-config', 'ca.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-crldays', '30'];
    await openssl('ca', '-gencrl', ...signer, '-out', 'ca.crl');
    const crl = await text('ca.crl');
    const parameters = await text('parameters.key').catch(() => '');
    const given = contextOf(`My CA\n=====\n${ca}${leafKey}${parameters}${crl}${leaf}`);
    assert.equal(given, ca + crl + leaf);
    await writeFile(join(folder.path, 'given.pem'), given);
    assert.match(await openssl('verify', '-CAfile', 'given.pem', '-crl_check', 'leaf.pem'), /OK/);
  });

  test('is refused without a CA, or with anything damaged', () => {
    const crl = '-----BEGIN X509 CRL-----\nMAAw\n-----END X509 CRL-----\n';
    const cases: readonly (readonly [string, RegExp])[] = [
      ['', /^no CA/],
      [leafKey, /^no CA/],
      [leaf, /^no CA/],
      [ca.slice(0, -20), /damaged/],
      [ca + ca.slice(0, 300), /damaged/],
      [ca + crl, /revocation list/],
      [ca.replace(/MII[^]{8}/, 'AAAAAAAAAAA'), /cannot be parsed/],
    ];
    for (const [file, reason] of cases)
      assert.match(
        reasonOf(() => contextOf(file)),
        reason,
      );
  });

  test('with the CAs of the whole web is read quickly', () => {
    const startedAt = performance.now();
    assert.equal(contextOf(ca.repeat(300)), ca.repeat(300));
    assert.ok(performance.now() - startedAt < 500);
  });
});

describe('a generic secret', () => {
  const bytesOf = (file: Uint8Array): Buffer => {
    const content = toGenericSecret(file);
    assert.ok(content.kind === 'generic');
    return Buffer.from(content.bytes);
  };

  test('is given as it is; only one line of text loses its end', () => {
    const cases: readonly (readonly [string, string])[] = [
      ['token', 'token'],
      ['token\n', 'token'],
      ['token\r\n', 'token'],
      ['token \n', 'token '],
      ['a\tb\n', 'a\tb'],
      ['pässword\n', 'pässword'],
      ['token\n\n', 'token\n\n'],
      ['two\nlines\n', 'two\nlines\n'],
      ['\u0001binary\n', '\u0001binary\n'],
    ];
    for (const [file, secret] of cases)
      assert.equal(bytesOf(Buffer.from(file)).toString(), secret, JSON.stringify(file));
    const random = Buffer.from([0xff, 0x41, 0x0a]);
    assert.deepEqual(bytesOf(random), random);
  });

  test('is never empty', () => {
    for (const file of ['', '\n', '\r\n']) {
      assert.equal(
        reasonOf(() => bytesOf(Buffer.from(file))),
        'it is empty',
      );
    }
  });

  test('loses at most its line end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 3 }), (file) => {
        const bytes = bytesOf(file);
        assert.ok(file.length - bytes.length <= 2);
        assert.deepEqual(bytes, Buffer.from(file.subarray(0, bytes.length)));
        assert.match(Buffer.from(file.subarray(bytes.length)).toString('latin1'), /^(?:\r?\n)?$/);
      }),
    );
  });
});

test('the key that is given is the key of the file', () => {
  const given = createPrivateKey(tlsCertificate(leaf, leafKey).privateKey);
  assert.ok(given.equals(createPrivateKey(leafKey)));
});

import { isUtf8 } from 'node:buffer';
import { createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';
import { formMistake, parseCertificate, pemEncode, splitDer, type Certificate } from '../pki/index.ts';
import { derOf, parsePemBlocks } from './pem-blocks.ts';
import type { SecretContent } from './secret-store.ts';

const CERTIFICATE = 'CERTIFICATE';
const REVOCATION_LIST = 'X509 CRL';
const ENCRYPTED_KEY = 'ENCRYPTED PRIVATE KEY';
/** Of keys that OpenSSL encrypted in its old way. */
const ENCRYPTED_HEADER = /Proc-Type:\s*4,\s*ENCRYPTED/;
/** What Envoy takes. */
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);
const MIN_RSA_BITS = 2048;
/** Longer chains than this are no chains, and TLS clients refuse them. */
const MAX_CHAIN_LENGTH = 16;

/**
 * The bytes as they are; but one line of text loses its line end: most editors write one, and Envoy before 1.40 puts it
 * into the header, which makes the request fail (envoy#46260). Bytes that are no text keep what only looks like one.
 * Throws `config_invalid`.
 */
export function toGenericSecret(file: Uint8Array): SecretContent {
  const LF = 0x0a;
  const CR = 0x0d;
  const lineEnd = file.at(-1) === LF ? (file.at(-2) === CR ? 2 : 1) : 0;
  const line = file.subarray(0, file.length - lineEnd);
  const bytes = Uint8Array.from(isOneLine(line) ? line : file);
  if (bytes.length === 0) throw invalid('it is empty');
  return { kind: 'generic', bytes };
}

/** A chain, leaf first, and the leaf's private key (EC, RSA or Ed25519, not encrypted). Throws `config_invalid`. */
export function toTlsCertificate(chainFile: Uint8Array, keyFile: Uint8Array): SecretContent {
  const ders = certificatesIn(chainFile);
  // Before any is parsed: who may name files could name the CAs of the whole web.
  if (ders.length > MAX_CHAIN_LENGTH) throw invalid(`more than ${MAX_CHAIN_LENGTH} certificates`);
  const chain = ders.map(parseOne);
  const [leaf] = chain;
  if (leaf === undefined) throw invalid('no certificate in PEM');
  const privateKey = privateKeyIn(keyFile);
  if (!leaf.isFor({ privateKey, publicKey: createPublicKey(privateKey) })) {
    throw invalid('the private key is not that of the first certificate');
  }
  return {
    kind: 'tls_certificate',
    certificateChain: chain.map(({ der }) => pemEncode(CERTIFICATE, der)).join(''),
    privateKey: pemEncode('PRIVATE KEY', privateKey.export({ type: 'pkcs8', format: 'der' })),
    serial: leaf.serial,
    notAfter: leaf.notAfter,
  };
}

/** CAs and their revocation lists; all else in the file is left out. Throws `config_invalid`. */
export function toValidationContext(file: Uint8Array): SecretContent {
  let hasCa = false;
  const parts: string[] = [];
  for (const block of parsePemBlocks(textOf(file))) {
    if (block.label === CERTIFICATE) {
      const der = derOf(block);
      hasCa = isCaCertificate(der) || hasCa;
      parts.push(pemEncode(CERTIFICATE, der));
    } else if (block.label === REVOCATION_LIST) {
      const der = derOf(block);
      assertOneSequence(der);
      parts.push(pemEncode(REVOCATION_LIST, der));
    }
  }
  if (!hasCa) throw invalid('no CA certificate in PEM');
  return { kind: 'validation_context', ca: parts.join('') };
}

function isOneLine(bytes: Uint8Array): boolean {
  const TAB = 0x09;
  const SPACE = 0x20;
  const DEL = 0x7f;
  return isUtf8(bytes) && bytes.every((byte) => (byte >= SPACE && byte !== DEL) || byte === TAB);
}

function certificatesIn(file: Uint8Array): readonly Uint8Array[] {
  return parsePemBlocks(textOf(file))
    .filter(({ label }) => label === CERTIFICATE)
    .map(derOf);
}

function parseOne(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw invalid('a certificate cannot be parsed', cause);
  }
}

/** By OpenSSL alone: a file with the CAs of the whole web has to be read within milliseconds. */
function isCaCertificate(der: Uint8Array): boolean {
  try {
    const certificate = new X509Certificate(der);
    // It takes PEM, too.
    if (certificate.raw.equals(der) && formMistake(der) === undefined) return certificate.ca;
  } catch (cause) {
    throw invalid('a certificate cannot be parsed', cause);
  }
  throw invalid('a certificate cannot be parsed');
}

function assertOneSequence(der: Uint8Array): void {
  try {
    if (splitDer(der).length === 1) return;
  } catch (cause) {
    throw invalid('a revocation list cannot be parsed', cause);
  }
  throw invalid('a revocation list cannot be parsed');
}

function privateKeyIn(file: Uint8Array): KeyObject {
  const keys = parsePemBlocks(textOf(file)).filter(({ label }) => label.endsWith('PRIVATE KEY'));
  const [block] = keys;
  if (block === undefined) throw invalid('no private key in PEM');
  if (keys.length > 1) throw invalid('more than one private key');
  if (block.label === ENCRYPTED_KEY || ENCRYPTED_HEADER.test(block.body)) throw invalid('the private key is encrypted');
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: block.text, format: 'pem' });
  } catch {
    // Without the cause: nobody promises what OpenSSL says of a key.
    throw invalid('the private key cannot be parsed');
  }
  assertUsable(key);
  return key;
}

function assertUsable({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): void {
  if (type === 'ed25519') return;
  if (type === 'ec' && CURVES.has(details?.namedCurve ?? '')) return;
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) return;
  throw invalid(`the private key is none of EC on P-256, P-384 or P-521, RSA of ${MIN_RSA_BITS} bits, Ed25519`);
}

function textOf(file: Uint8Array): string {
  return Buffer.from(file.buffer, file.byteOffset, file.byteLength).toString('latin1');
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('config_invalid', message, { cause });
}

import { SvidgateError } from '../../core/index.ts';
import { ANY_USAGE, CLIENT_AUTH, parseCertificate, parseCsr, type Certificate } from '../../pki/index.ts';
import type { MintedCa } from '../upstream-authority.ts';

/** From a CA up to its root. */
export interface CaPath {
  /** The CA first, the root last; one alone when the CA is a root. */
  readonly certificates: readonly Certificate[];
  readonly root: Certificate;
  /** Epoch milliseconds: when the first of them ends. */
  readonly notAfter: number;
}

/** More than anybody has. */
const MAX_LENGTH = 8;

/**
 * The path from a CA that is to stand directly above ours, through `others`, to a root: a CA that signed itself. Each of
 * them may do what it has to (RFC 5280 §6.1.4), and is valid now. Throws `upstream_failed` with the one thing that is wrong;
 * `where` begins the message.
 */
export function pathToRoot(
  ca: Certificate,
  others: readonly Certificate[],
  { where, now }: { readonly where: string; readonly now: number },
): CaPath {
  const certificates: Certificate[] = [];
  for (let next: Certificate | undefined = ca; next !== undefined;) {
    const current: Certificate = next;
    const fault = faultOf(current, certificates.length, now);
    if (fault !== undefined) throw failed(`${where}: ${nameOf(current, certificates.length)} ${fault}`);
    certificates.push(current);
    if (current.isSignedBy(current)) {
      return { certificates, root: current, notAfter: Math.min(...certificates.map(({ notAfter }) => notAfter)) };
    }
    next = certificates.length < MAX_LENGTH ? others.find((other) => current.isSignedBy(other)) : undefined;
  }
  throw failed(`${where}: no path of at most ${MAX_LENGTH} certificates leads to a root, one that signed itself`);
}

/**
 * What an upstream gave for a request, believed only after this: it is for the key and the URIs asked for, a CA, signed by the first
 * of the path and valid now. Throws `upstream_failed`.
 */
export async function toMintedCa(
  minted: { readonly csr: Uint8Array; readonly certificate: Uint8Array; readonly path: CaPath },
  { where, now }: { readonly where: string; readonly now: number },
): Promise<MintedCa> {
  const { publicKey, uris } = await parseCsr(minted.csr);
  const certificate = readCertificate(minted.certificate, where);
  const [above] = minted.path.certificates;
  const refuse = (what: string): never => {
    throw failed(`${where}: the CA that was signed for us ${what}`);
  };
  if (!Buffer.from(certificate.publicKey).equals(publicKey)) refuse('is for another key');
  if (certificate.uris.length !== uris.length || uris.some((uri, index) => uri !== certificate.uris[index])) {
    refuse(`has not the URI ${uris.join(', ')} that was asked for, or others beside it`);
  }
  if (above === undefined || !certificate.isSignedBy(above)) refuse('is not signed by the CA that signs');
  const fault = faultOf(certificate, -1, now);
  if (fault !== undefined) refuse(fault);
  const intermediates = minted.path.certificates.filter((one) => one !== minted.path.root);
  return { chain: [certificate, ...intermediates].map(({ der }) => der), roots: [minted.path.root.der] };
}

/** Throws `upstream_failed`. */
export function readCertificate(der: Uint8Array, where: string): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw failed(`${where}: a certificate cannot be read`, cause);
  }
}

/** Whether both are the same certificates in the same order. */
export function sameCertificates(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return (
    one.length === other.length &&
    one.every((der, index) => Buffer.compare(der, other[index] ?? new Uint8Array()) === 0)
  );
}

/** `depth`: how many stand below it but above ours; -1 for ours. */
function faultOf(ca: Certificate, depth: number, now: number): string | undefined {
  if (!ca.isCa) return 'is no CA';
  if (ca.keyUsage?.keyCertSign !== true) return 'may not sign certificates: keyCertSign is missing in its key usage';
  if (ca.pathLength !== undefined && ca.pathLength < depth + 1) {
    return `allows ${ca.pathLength} intermediates below it, but ${depth + 1} are needed`;
  }
  if (ca.extendedKeyUsage?.some((usage) => usage === CLIENT_AUTH || usage === ANY_USAGE) === false) {
    return 'is not for TLS: its extended key usage lacks clientAuth';
  }
  const [unknown] = ca.unknownCritical;
  if (unknown !== undefined) return `has the critical extension ${unknown}, which would keep verifiers from using it`;
  if (now > ca.notAfter) return `has ended on ${new Date(ca.notAfter).toISOString()}`;
  if (now < ca.notBefore) return `is valid only from ${new Date(ca.notBefore).toISOString()}: compare the clocks`;
  return undefined;
}

function nameOf({ subjectKeyId, serial }: Certificate, depth: number): string {
  const name = subjectKeyId === '' ? `with serial ${serial}` : subjectKeyId;
  return depth === 0 ? `the CA ${name}` : `CA ${name} above it`;
}

function failed(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('upstream_failed', message, { cause });
}

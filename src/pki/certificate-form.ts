import { childrenOf, contentOf } from './der.ts';

const UTC_TIME = 0x17;
const EXTENSIONS = 0xa3;
/** `[0] EXPLICIT INTEGER`: version 3, and those that know no extensions. */
const VERSION_3 = 'a003020102';
const OLDER_VERSIONS: ReadonlySet<string> = new Set(['a003020100', 'a003020101']);

/**
 * What OpenSSL lets pass and Envoy's BoringSSL does not: a version that does not know extensions (RFC 5280 §4.1.2.1), and
 * times in another form than §4.1.2.5 has. For one such certificate in a bundle Envoy refuses the whole secret, with all
 * other trust domains in it.
 * @param der parsed by others before
 * @returns what is wrong with it
 */
export function formMistake(der: Uint8Array): string | undefined {
  const [tbsCertificate = der] = childrenOf(der);
  const fields = childrenOf(tbsCertificate);
  const first = Buffer.from(fields[0] ?? []).toString('hex');
  const hasVersion = first.startsWith('a0');
  const isOld = !hasVersion || OLDER_VERSIONS.has(first);
  const hasExtensions = fields.some(([tag]) => tag === EXTENSIONS);
  if (first !== VERSION_3 && (!isOld || hasExtensions)) return 'a version other than 3';
  // After version, serialNumber, signature and issuer.
  const times = childrenOf(fields[hasVersion ? 4 : 3] ?? new Uint8Array());
  if (times.length !== 2 || !times.every(isTime)) return 'a time in a form that RFC 5280 does not have';
  return undefined;
}

/** UTCTime YYMMDDHHMMSSZ or GeneralizedTime YYYYMMDDHHMMSSZ, of a day that there is. */
function isTime(element: Uint8Array): boolean {
  const text = Buffer.from(contentOf(element)).toString('latin1');
  const century = element[0] !== UTC_TIME ? '' : text < '50' ? '20' : '19';
  const digits = `${century}${text}`;
  if (!/^\d{14}Z$/.test(digits)) return false;
  const iso = digits.replace(/^(....)(..)(..)(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z');
  const time = Date.parse(iso);
  return !Number.isNaN(time) && new Date(time).toISOString() === iso;
}

/**
 * What key material and tokens look like. Nothing of the kind is ever meant to reach the log: this is the last line,
 * for a text that came from outside our own code.
 */
const SECRET_PATTERNS = [
  // PEM, also URL-encoded or cut off before its end.
  /-----BEGIN[\s\S]*?(?:-----END[^-]*-----|$)/g,
  // Base64 of a DER private key: PKCS #8, PKCS #1 and SEC 1 begin with a SEQUENCE and a small version INTEGER.
  /M[A-H][\w+/]CAQ(?:Aw|EE)[\w+/=-]*|MI[GH][\w+/]AgE(?:AM|BB)[\w+/=-]*|MII[\w+/]{2}[AQgw]IBA(?:D|AKC)[\w+/=-]*/g,
  // A JWT or any other base64url JSON object: `{"` is `eyJ`.
  /\beyJ[\w-]{6,}(?:\.[\w-]*)*/g,
  /\bbearer\s+\S+/gi,
] as const;

export const REDACTED = '[redacted]';

/** The text with everything that looks like a key or a token replaced. */
export function redact(text: string): string {
  return SECRET_PATTERNS.reduce((result, pattern) => result.replace(pattern, REDACTED), text);
}

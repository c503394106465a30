const CREDENTIAL =
  /^(?:authorization|proxy-authorization|cookie2?|set-cookie2?|authentication-info|proxy-authentication-info)$|api-?key|secret|passw|token|credential|private-?key|session-?id|access-?key|-key$|(?:^|-)auth$|^x-auth-/;

/** Whether a header, a parameter or a claim is called what credentials are called: its values are never written down. */
export function isCredentialName(name: string): boolean {
  let isCredential = KNOWN.get(name);
  if (isCredential === undefined) {
    isCredential = CREDENTIAL.test(
      name
        .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
        .replaceAll('_', '-')
        .toLowerCase(),
    );
    if (KNOWN.size < MAX_KNOWN && name.length <= MAX_KNOWN_LENGTH) KNOWN.set(name, isCredential);
  }
  return isCredential;
}

/** Asked of the same few names for each record. What a client makes up may fill it, and costs speed alone. */
const KNOWN = new Map<string, boolean>();
const MAX_KNOWN = 500;
/** Longer texts may be views of a whole request, which would be kept with them. */
const MAX_KNOWN_LENGTH = 12;

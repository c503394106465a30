const CREDENTIAL =
  /^(?:authorization|proxy-authorization|cookie2?|set-cookie2?|authentication-info|proxy-authentication-info)$|api-?key|secret|passw|token|credential|private-?key|session-?id|access-?key|-key$|(?:^|-)auth$|^x-auth-/;

/** Whether a header, a parameter or a claim is called what credentials are called: its values are never written down. */
export function isCredentialName(name: string): boolean {
  return CREDENTIAL.test(
    name
      .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
      .replaceAll('_', '-')
      .toLowerCase(),
  );
}

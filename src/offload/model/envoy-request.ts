/** A request as Envoy's filters see it, after Envoy's own normalisation. */
export interface EnvoyRequest {
  /**
   * In their order, names in lower case, `:method`, `:path` and `:authority` among them. Values are bytes, a character each
   * (Latin-1).
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Absent: it showed no certificate. */
  readonly peer?: EnvoyPeer;
  /** Where the connection was made to; absent where that has no port. */
  readonly destination?: { readonly address: string; readonly port: number };
  /** SNI; empty without. */
  readonly serverName: string;
}

/** Who has a certificate. */
export interface EnvoyPeer {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly subject: string;
  /** Whether Envoy checked it against its validation context. */
  readonly isVerified: boolean;
}

/** The values of a header. */
export function headersOf({ headers }: EnvoyRequest, name: string): readonly string[] {
  const lower = name.toLowerCase();
  // Envoy has them as one.
  const wanted = lower === 'host' ? ':authority' : lower;
  return headers.flatMap(([own, value]) => (own === wanted ? [value] : []));
}

/** As the gate is told: several of a name are one text. Undefined where there is none. */
export function headerOf(request: EnvoyRequest, name: string): string | undefined {
  const values = headersOf(request, name);
  return values.length === 0 ? undefined : values.join(',');
}

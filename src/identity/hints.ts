/** Of two with the same hint the caller could not tell which is meant: the first stays (Workload API §5.2.1). */
export function withUniqueHints<Held extends { readonly hint?: string }>(held: readonly Held[]): readonly Held[] {
  const seen = new Set<string>();
  return held.filter(({ hint = '' }) => hint === '' || (!seen.has(hint) && seen.add(hint)));
}

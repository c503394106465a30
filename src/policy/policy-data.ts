/** The base documents of a policy: its data.json and data.yaml files as one, each at the path of its folder. */
export type PolicyData =
  /** Nothing has been in force since the start. */
  { readonly kind: 'pending' } | { readonly kind: 'known'; readonly data: unknown };

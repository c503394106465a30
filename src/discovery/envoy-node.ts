/** What discovery needs to know of the Envoy that asks. Every field may be missing or odd; none may do harm. */
export interface EnvoyNode {
  readonly id: string;
  readonly cluster: string;
  /** Major and minor version, or undefined when Envoy did not say. */
  readonly version: { readonly major: number; readonly minor: number } | undefined;
  /** `node.metadata.disable_spiffe_cert_validation`, or undefined when it is absent or no boolean. */
  readonly disableSpiffeCertValidation: boolean | undefined;
}

/** What the Envoy of one stream has said of itself, in its first message, whatever type of resources that was for. */
export interface StreamNode {
  node: EnvoyNode | undefined;
}

export const UNKNOWN_NODE: EnvoyNode = {
  id: '',
  cluster: '',
  version: undefined,
  disableSpiffeCertValidation: undefined,
};

/** The texts that Go's strconv.ParseBool takes, as spire-agent does. */
const TRUE_TEXTS = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE_TEXTS = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

/** A boolean or a text that Go reads as one; everything else is undefined. */
export function parseFlag(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (typeof value !== 'string') return undefined;
  if (TRUE_TEXTS.has(value)) return true;
  return FALSE_TEXTS.has(value) ? false : undefined;
}

/** Whether it says that it is Envoy 1.`minor` or newer. */
export function isSaidToBeSince(node: Pick<EnvoyNode, 'version'>, minor: number): boolean {
  return node.version !== undefined && isSince(node, minor);
}

/** Whether it is Envoy 1.`minor` or newer; one that does not say is taken to be. */
export function isSince({ version }: Pick<EnvoyNode, 'version'>, minor: number): boolean {
  return version === undefined || version.major > 1 || (version.major === 1 && version.minor >= minor);
}

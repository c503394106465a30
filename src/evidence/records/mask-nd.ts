import type { NdBuiltinCache } from '../../policy/index.ts';
import { exactJson } from './exact-json.ts';
import { escapeSegment, type Masking } from './mask-rules.ts';
import { looksSecret } from './secret-text.ts';

type RecordedNd = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface MaskedNd {
  readonly nd?: RecordedNd;
  /** JSON pointers to what the policy got and the record lacks. */
  readonly missing: readonly string[];
}

interface Answers {
  readonly nd?: NdBuiltinCache | undefined;
  readonly ndLost?: readonly string[] | undefined;
}

/** Their arguments are texts that a policy chose; answers come from chance, the clock and the resolver. */
const PLAIN: ReadonlySet<string> = new Set(['time.now_ns', 'rand.intn', 'uuid.rfc4122', 'net.lookup_ip_addr']);
/** Arguments and answers hold keys, tokens, certificates. */
const NEVER: ReadonlySet<string> = new Set(['io.jwt.encode_sign', 'io.jwt.encode_sign_raw']);
const CREDENTIAL_HEADER = /"(?:proxy-)?authorization"|"(?:set-)?cookie"|api-?key/i;

/**
 * What builtins answered, as far as it may be kept: of `http.send` only whom the policy asked and the status of the answer,
 * unless `/nd_builtin_cache/http.send` is shown.
 */
export function maskNd({ nd = {}, ndLost = [] }: Answers, masking: Masking, shown: readonly string[]): MaskedNd {
  const kept: Record<string, Record<string, unknown>> = {};
  const missing = new Set<string>(ndLost.map(pointerTo));
  for (const [name, calls] of Object.entries(nd)) {
    const pointer = pointerTo(name);
    const isShown = !NEVER.has(name) && shown.some((path) => path === pointer || path === '/nd_builtin_cache');
    for (const [call, answer] of Object.entries(calls)) {
      const entry = answer === '' ? undefined : keptEntry({ name, call, answer, isShown }, masking);
      if (entry === undefined || entry.call !== call) missing.add(pointer);
      // Undefined answers have no JSON.
      if (entry === undefined && answer !== '') masking.note(pointer, [call, answer]);
      if (entry !== undefined) {
        if (entry.call !== call) masking.note(pointer, [call, answer]);
        (kept[name] ??= {})[entry.call] = entry.answer;
      }
    }
  }
  return { ...(Object.keys(kept).length === 0 ? {} : { nd: kept }), missing: [...missing] };
}

interface Call {
  readonly name: string;
  /** JSON text of the arguments. */
  readonly call: string;
  readonly answer: string;
  readonly isShown: boolean;
}

function keptEntry(
  { name, call, answer, isShown }: Call,
  masking: Masking,
): { readonly call: string; readonly answer: unknown } | undefined {
  const value = parsed(answer);
  if (value === undefined) return undefined;
  if (name === 'time.now_ns') return { call, answer: value };
  const isSafe = !looksSecret(call) && !looksSecret(answer) && !CREDENTIAL_HEADER.test(call + answer);
  if (isSafe && (isShown || (PLAIN.has(name) && !masking.removed.isIn(argumentsText(call))))) {
    return { call, answer: value };
  }
  return name === 'http.send' ? exchangeEntry(call, value) : undefined;
}

/** Whom it asked, and how that answered. */
function exchangeEntry(call: string, answer: unknown): { readonly call: string; readonly answer: unknown } | undefined {
  const [request] = (parsed(call) as readonly { readonly url?: unknown }[] | undefined) ?? [];
  const url = typeof request?.url === 'string' ? URL.parse(request.url) : null;
  const status =
    typeof answer === 'object' && answer !== null && 'status_code' in answer ? answer.status_code : undefined;
  if (url === null || typeof status !== 'number') return undefined;
  return { call: `[{"url": ${JSON.stringify(url.origin)}}]`, answer: { status_code: status } };
}

/** The texts of simple arguments, without their quotes. */
function argumentsText(call: string): string {
  const values = parsed(call);
  return Array.isArray(values) ? values.map((value) => (typeof value === 'string' ? value : '')).join(' ') : call;
}

function parsed(text: string): unknown {
  try {
    return exactJson(text);
  } catch {
    return undefined;
  }
}

function pointerTo(name: string): string {
  return `/nd_builtin_cache/${escapeSegment(name)}`;
}

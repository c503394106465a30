import { messageIn, NotAMessage, readFields, bytesIn, textIn, type Fields } from './read-bytes.ts';

/** What Envoy would make of a reply, and whether it was told so. */
export type Verdict =
  | { readonly kind: 'allow' | 'deny'; readonly reason: string }
  /** Envoy would have to guess. */
  | { readonly kind: 'not_explicit'; readonly reason: ''; readonly why: string };

/** OK is an allow; Envoy takes a reply without a status for one, too, so that here this counts as one that nobody gave. */
export function readReply(bytes: Uint8Array): Verdict {
  const reply = readFields(Buffer.from(bytes));
  if (reply === undefined) return { kind: 'not_explicit', reason: '', why: 'the reply cannot be read' };
  try {
    const status = messageIn(reply, 1);
    const code = bytesIn(reply, 1).length === 0 ? undefined : (status?.get(1)?.at(-1) ?? 0);
    const reason = reasonIn(reply);
    // A status that is there and empty has the code 0.
    if (code === 0 && bytesIn(reply, 3).length === 1 && bytesIn(reply, 2).length === 0)
      return { kind: 'allow', reason };
    if (code === 7 && bytesIn(reply, 2).length === 1 && bytesIn(reply, 3).length === 0) return { kind: 'deny', reason };
    if (code === undefined) return { kind: 'allow', reason: 'without a status' };
    return { kind: 'not_explicit', reason: '', why: `status ${String(code)}` };
  } catch (error) {
    if (error instanceof NotAMessage)
      return { kind: 'not_explicit', reason: '', why: 'the reply has parts that cannot be read' };
    throw error;
  }
}

/** `reason` of the dynamic metadata, a google.protobuf.Struct. */
function reasonIn(reply: Fields): string {
  for (const bytes of bytesIn(messageIn(reply, 4), 1)) {
    const entry = readFields(bytes);
    if (textIn(entry, 1) === 'reason') return textIn(messageIn(entry, 2), 3);
  }
  return '';
}

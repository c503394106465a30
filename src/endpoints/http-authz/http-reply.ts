import { bodyOf, metadataHeader, statusOf, type DenyReply, type GateReply, type ReplyFacts } from '../../gate/index.ts';
import type { AllowEffects, HeaderField } from '../../policy/index.ts';
import type { HttpHeader, HttpReply } from '../../transport/index.ts';
import type { RequestScheme } from './asked-path.ts';

/** What a proxy is told. Only an allow is below 300, and only an error that is to be counted as one is above 499. */
export function httpReply(reply: GateReply, scheme: RequestScheme): HttpReply {
  switch (reply.kind) {
    case 'allow':
      return allow(reply.facts, reply.effects);
    case 'deny':
      return deny(reply.facts, reply.reply, scheme);
    case 'error':
      return { status: 500, headers: [decisionHeader(reply.facts)], body: '' };
    case 'grpc_error':
      return deny(reply.facts, { httpStatus: 403 }, scheme);
  }
}

function allow(facts: ReplyFacts, effects: AllowEffects | undefined): HttpReply {
  const { headers = [], responseHeadersToAdd = [], requestHeadersToRemove = [], dynamicMetadata } = effects ?? {};
  const removed = requestHeadersToRemove.map((name) => name.toLowerCase()).join(',');
  const metadata = dynamicMetadata === undefined ? undefined : metadataHeader(dynamicMetadata);
  return {
    status: 200,
    headers: [
      ...joined(headers),
      ...responseHeadersToAdd.map(headerOf),
      ...(removed === '' ? [] : [['x-envoy-auth-headers-to-remove', removed] as const]),
      decisionHeader(facts),
      ['x-svidgate-policy', facts.policy],
      ...(facts.reason === undefined ? [] : [['x-svidgate-reason', facts.reason] as const]),
      ...(metadata === undefined ? [] : [['x-svidgate-metadata', metadata] as const]),
    ],
    body: '',
  };
}

/** A proxy may pass all of it on to the client: nothing says why it was denied but what its policy says. */
function deny(facts: ReplyFacts, reply: DenyReply, scheme: RequestScheme): HttpReply {
  const given = statusOf(reply);
  const headers = [...(reply.effects?.headers ?? []).map(headerOf), decisionHeader(facts)];
  // nginx takes any other status for an error of ours, and reads no body.
  if (scheme === 'nginx') return { status: given === 401 ? 401 : 403, headers, body: '' };
  // Below 300 would be an allow, or nearly, and above 499 Envoy counts an error, which it may let pass.
  const status = given < 300 || given > 499 ? 403 : given;
  const body = bodyOf(reply, facts);
  if (body.contentType !== undefined) headers.push(['content-type', body.contentType]);
  return { status, headers, body: body.text };
}

function decisionHeader({ decisionId }: ReplyFacts): HttpHeader {
  return ['x-svidgate-decision-id', decisionId];
}

/** The values of one name in one: a proxy sets the header to what it finds last. They stand in the order of their names. */
function joined(headers: readonly HeaderField[]): readonly HttpHeader[] {
  const byName = Map.groupBy(headers, ({ name }) => name.toLowerCase());
  return [...byName].map(([name, values]) => headerOf({ name, value: values.map(({ value }) => value).join(',') }));
}

/** Text as the bytes of its UTF-8. */
function headerOf({ name, value }: HeaderField): HttpHeader {
  return [name.toLowerCase(), Buffer.from(value.toWellFormed(), 'utf8').toString('latin1')];
}

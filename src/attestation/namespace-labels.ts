import { readFile } from 'node:fs/promises';
import type { Clock } from '../core/index.ts';
import { abortable } from './abortable.ts';
import { bearerToken } from './bearer-token.ts';
import { getJson } from './http-json.ts';
import { objectAt, textAt, textsAt } from './json-fields.ts';

/** The API server, which alone knows the labels of namespaces. Files are read again for each request. */
export interface NamespaceLabelsOptions {
  /** Host name or IP address that is in its certificate, such as kubernetes.default.svc. */
  readonly apiServerAddress: string;
  readonly apiServerPort: number;
  /** PEM of the CAs of its certificate. */
  readonly apiServerCaFile: string;
  /** Bearer token of an account that may get namespaces. */
  readonly apiServerTokenFile: string;
}

/** Selector values of a namespace's labels. Rejects when the API server does not answer as it should. */
export type NamespaceLabels = (namespace: string, signal: AbortSignal) => Promise<readonly string[]>;

const REQUEST_TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1024 * 1024;
/** Callers that come at once, after a rollout for instance, share an answer. */
const MAX_AGE_MS = 1000;
/** A name by RFC 1123, as namespaces have; it becomes part of a path. */
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function createNamespaceLabels(options: NamespaceLabelsOptions, clock: Clock): NamespaceLabels {
  const known = new Map<string, { readonly at: number; readonly values: Promise<readonly string[]> }>();
  return (namespace, signal) => {
    const now = clock.now();
    for (const [name, { at }] of known) if (now < at || now >= at + MAX_AGE_MS) known.delete(name);
    const found = known.get(namespace);
    if (found !== undefined) return abortable(found.values, signal);
    const values = requestLabels(options, namespace);
    known.set(namespace, { at: now, values });
    const forget = (): void => void (known.get(namespace)?.values === values && known.delete(namespace));
    values.catch(forget);
    return abortable(values, signal);
  };
}

async function requestLabels(options: NamespaceLabelsOptions, namespace: string): Promise<readonly string[]> {
  if (!NAMESPACE.test(namespace)) throw new Error('the pod has no valid namespace');
  const { apiServerAddress: host, apiServerPort: port } = options;
  const ca = await readFile(options.apiServerCaFile, 'utf8');
  const token = await bearerToken(options.apiServerTokenFile);
  const answer = await getJson(
    { kind: 'tls', host, port, trust: { ca, serverName: host, client: undefined } },
    {
      path: `/api/v1/namespaces/${namespace}`,
      headers: { accept: 'application/json', authorization: token },
      maxBytes: MAX_ANSWER_BYTES,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS), // belongs to all who wait
    },
  );
  const metadata = objectAt(answer, 'metadata');
  if (textAt(metadata, 'name') !== namespace) throw new Error('the API server does not know the namespace');
  return textsAt(metadata, 'labels').map(([name, text]) => `ns-label:${name}:${text}`);
}

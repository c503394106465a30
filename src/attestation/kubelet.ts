import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { Clock } from '../core/index.ts';
import { abortable } from './abortable.ts';
import { bearerToken } from './bearer-token.ts';
import { getJson, type HttpTarget } from './http-json.ts';
import { parsePodList, type Pod } from './pod.ts';

/** How the node's kubelet is reached, and what it is shown. Files are read again for each request. */
export interface KubeletOptions {
  readonly kubeletAddress: string;
  /** With TLS. */
  readonly kubeletPort: number;
  /** Without TLS and login; used instead of the other when given. */
  readonly readOnlyPort?: number;
  /** PEM of the CAs of the kubelet's certificate. Needed unless it is not verified. */
  readonly caFile?: string;
  readonly skipKubeletVerification: boolean;
  /** Bearer token; not read when there is a client certificate. */
  readonly tokenFile: string;
  readonly clientCertificateFile?: string;
  readonly clientKeyFile?: string;
  /**
   * The name in the kubelet's certificate. Without it the address must be in the certificate, unless it is a loopback
   * address: nobody's certificate names that, and the chain alone is checked.
   */
  readonly nodeName?: string;
}

/** The pods of this node as the kubelet knows them. */
export interface PodList {
  /** Not older than `maxAgeMs`. Callers share one request. Rejects when the kubelet does not answer as it should. */
  pods(maxAgeMs: number, signal: AbortSignal): Promise<readonly Pod[]>;
}

const REQUEST_TIMEOUT_MS = 10_000;
/** Five hundred pods of 64 KiB. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

export function createPodList(options: KubeletOptions, clock: Clock): PodList {
  let last: { readonly at: number; readonly pods: readonly Pod[] } | undefined;
  let underWay: Promise<readonly Pod[]> | undefined;

  const fetch = async (): Promise<readonly Pod[]> => {
    // Belongs to all who wait, so it goes on when one of them leaves.
    const answer = await requestPods(options, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    const pods = parsePodList(answer);
    last = { at: clock.now(), pods };
    return pods;
  };

  return {
    async pods(maxAgeMs, signal) {
      signal.throwIfAborted();
      const age = last === undefined ? Infinity : clock.now() - last.at;
      if (last !== undefined && age >= 0 && age < maxAgeMs) return last.pods; // a clock set back makes it old
      underWay ??= fetch().finally(() => (underWay = undefined));
      return abortable(underWay, signal);
    },
  };
}

async function requestPods(options: KubeletOptions, signal: AbortSignal): Promise<unknown> {
  const { readOnlyPort, kubeletAddress: host } = options;
  const request = { path: '/pods', maxBytes: MAX_ANSWER_BYTES, signal };
  const headers = { accept: 'application/json' };
  const answer =
    readOnlyPort === undefined
      ? await getJson(await secureTarget(options), {
          ...request,
          headers: { ...headers, ...(await authorization(options)) },
        })
      : await getJson({ kind: 'tcp', host, port: readOnlyPort }, { ...request, headers });
  if (answer === undefined) throw new Error('the kubelet has no /pods');
  return answer;
}

async function secureTarget(options: KubeletOptions): Promise<HttpTarget> {
  const { kubeletAddress, caFile, clientCertificateFile, clientKeyFile } = options;
  if (caFile === undefined && !options.skipKubeletVerification)
    throw new Error('the kubelet cannot be verified without its CAs');
  const ca = caFile === undefined || options.skipKubeletVerification ? undefined : await readFile(caFile, 'utf8');
  const client =
    clientCertificateFile === undefined || clientKeyFile === undefined
      ? undefined
      : { certificate: await readFile(clientCertificateFile, 'utf8'), key: await readFile(clientKeyFile, 'utf8') };
  const trust = {
    ca,
    client,
    serverName: options.nodeName ?? (isLoopback(kubeletAddress) ? undefined : kubeletAddress),
  };
  return { kind: 'tls', host: kubeletAddress, port: options.kubeletPort, trust };
}

async function authorization(options: KubeletOptions): Promise<Readonly<Record<string, string>>> {
  if (options.clientCertificateFile !== undefined) return {};
  return { authorization: await bearerToken(options.tokenFile) };
}

function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}

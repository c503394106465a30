import { Buffer } from 'node:buffer';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import type { Clock, Metrics } from '../../core/index.ts';
import type { ExchangeAnswer } from '../evaluator-protocol.ts';
import type { PolicyNetwork } from '../suspended-calls.ts';
import { exchangeHttp, openConnections, TooLarge, type Connections, type WantedRequest } from './http-exchange.ts';
import { isAllowed, isAllowedName, parseOrigin, type HttpSendRules } from './http-send-rules.ts';

type Wanted = WantedRequest | { readonly kind: 'lookup'; readonly name: string };

interface Context {
  readonly rules: HttpSendRules;
  readonly clock: Clock;
  readonly connections: Connections;
}

/** As OPA waits between attempts. */
const FIRST_RETRY_MS = 100;
const RETRY_FACTOR = 1.6;

/** How an exchange ended. */
export type ExchangeResult = 'answered' | 'timeout' | 'refused' | 'failed' | 'canceled' | 'overloaded';

export interface PolicyNetworkOptions {
  readonly clock: Clock;
  readonly onEnd?: (result: ExchangeResult) => void;
}

/** The network of one policy: nobody but the origins of the rules is asked, whoever redirects there included. */
export function createPolicyNetwork(rules: HttpSendRules, options: PolicyNetworkOptions): PolicyNetwork {
  const { clock, onEnd = () => undefined } = options;
  const context = { rules, clock, connections: openConnections() };
  let inFlight = 0;
  return {
    responseCacheBytes: rules.cacheBytes,
    async exchange(wanted, signal) {
      if (inFlight >= rules.maxInFlight) {
        onEnd('overloaded');
        return 'overloaded';
      }
      inFlight += 1;
      try {
        const given = await answer(context, JSON.parse(wanted) as Wanted, signal);
        if (signal.aborted) onEnd('canceled');
        else onEnd('reason' in given ? given.reason : 'answered');
        return given;
      } finally {
        inFlight -= 1;
      }
    },
    close() {
      context.connections.http.destroy();
      context.connections.https.destroy();
    },
  };
}

/** The networks of policies, which see nothing of each other. Without rules there are none. */
export interface PolicyNetworks {
  /** To be called once for each policy. */
  of(policy: string): { readonly network?: PolicyNetwork };
  close(): void;
}

export function createPolicyNetworks(
  rules: HttpSendRules | undefined,
  { clock, metrics }: { readonly clock: Clock; readonly metrics: Metrics },
): PolicyNetworks {
  const networks: PolicyNetwork[] = [];
  return {
    of(policy) {
      if (rules === undefined) return {};
      const onEnd = (result: ExchangeResult): void =>
        metrics.count('svidgate_policy_exchanges_total', { policy, result });
      const network = createPolicyNetwork(rules, { clock, onEnd });
      networks.push(network);
      return { network };
    },
    close() {
      for (const network of networks) network.close();
    },
  };
}

/** Never rejects. */
async function answer(context: Context, wanted: Wanted, canceled: AbortSignal): Promise<ExchangeAnswer> {
  const { rules, clock } = context;
  const asked = wanted.kind === 'http' && wanted.timeoutMs > 0 ? wanted.timeoutMs : rules.timeoutMs;
  const timeoutMs = Math.min(asked, rules.timeoutMs);
  const done = new AbortController();
  const late = new AbortController();
  clock.sleep(timeoutMs, done.signal).then(
    () => late.abort(),
    () => undefined,
  );
  const signal = AbortSignal.any([canceled, late.signal]);
  try {
    const attempt = wanted.kind === 'lookup' ? lookUp(rules, wanted.name) : send(context, wanted, signal);
    return await Promise.race([attempt, aborted(signal)]);
  } catch (error) {
    if (late.signal.aborted) return { fault: 'it did not answer in time', reason: 'timeout' };
    return { fault: describeFault(error), reason: 'failed' };
  } finally {
    done.abort();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('ended')), { once: true });
  });
}

async function send(context: Context, wanted: WantedRequest, signal: AbortSignal): Promise<ExchangeAnswer> {
  const { rules, clock, connections } = context;
  const host = textOf(wanted.host);
  const origin = parseOrigin(wanted.scheme, host);
  if (origin === undefined || !isAllowed(origin, rules.allow)) return refused('authz.http_send does not allow it');
  // One address may serve many names.
  const named = parseOrigin(wanted.scheme, wanted.hostHeader === '' ? host : textOf(wanted.hostHeader));
  if (named === undefined || !isAllowed(named, rules.allow)) {
    return refused('authz.http_send does not allow the origin of its Host header');
  }
  if (wanted.method === 'CONNECT') return refused('CONNECT is not offered');
  const { caFile, maxResponseBytes: maxBytes } = rules;
  const ca = caFile === undefined || origin.scheme === 'http' ? undefined : await readFile(caFile, 'utf8');
  const options = { origin, connections, ca, maxBytes, signal };
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await exchangeHttp(wanted, options);
    } catch (error) {
      if (attempt >= wanted.retries || error instanceof TooLarge || signal.aborted) throw error;
      await clock.sleep(FIRST_RETRY_MS * RETRY_FACTOR ** attempt, signal);
    }
  }
}

async function lookUp(rules: HttpSendRules, name: string): Promise<ExchangeAnswer> {
  if (!isAllowedName(textOf(name), rules.allow))
    return refused('net.lookup_ip_addr: authz.http_send does not allow the name');
  const found = await lookup(textOf(name), { all: true });
  return { addresses: found.map(({ address }) => address) };
}

/** From one character for each byte. */
function textOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

function refused(fault: string): ExchangeAnswer {
  return { fault, reason: 'refused' };
}

/** Node's own words may quote the request. */
function describeFault(error: unknown): string {
  if (error instanceof TooLarge) return error.message;
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no reason known';
  return `the exchange failed (${code})`;
}

import { httpClient, type HttpAnswer, type HttpClient, type HttpSent } from './http-client.ts';
import type { Holder, HeldIdentity } from './holders.ts';
import { isMaybeRevoked, rightAnswers, spanSince, type Asked, type Body, type Token } from './model.ts';
import type { Random } from './random.ts';
import { pauseUnless, type Scene } from './scene.ts';
import { MAX_BODY_BYTES } from './soak-envoy.ts';
import { clockMs } from './timeline.ts';

/** Tokens that requests may carry, with their texts. */
export interface HeldToken extends Token {
  readonly text: string;
}

/** How long a client waits between two requests, at most. */
const MOST_PAUSE_MS = 40;
/** How long a connection lives; some outlive their certificate. */
const CONNECTION_MS = { least: 10_000, most: 75_000 };
/** Envoy learns of revocation lists and bundles by SDS, a moment after they are in force. */
const ENVOY_LAG_MS = 10_000;
const RETRY_MS = 250;

/** A client with a certificate: sends on one connection, then on another with the SVID that its holder has by then. */
export async function runPeer(scene: Scene, holder: Holder, tokens: readonly HeldToken[]): Promise<void> {
  const random = scene.random.fork();
  const { over, envoy } = scene;
  const at = { address: envoy.address, port: envoy.ports.mtls };
  while (!over.aborted) {
    const { identity } = holder;
    if (identity === undefined || identity.shown.endsAt < clockMs()) {
      await pauseUnless(over, RETRY_MS);
      continue;
    }
    using client = httpClient(at, identity);
    scene.findings.count('connection');
    const until = clockMs() + CONNECTION_MS.least + random.below(CONNECTION_MS.most - CONNECTION_MS.least);
    await sendUntil(scene, { client, identity, random, tokens, until });
  }
}

/** A client without one. */
export async function runAnonymous(scene: Scene, tokens: readonly HeldToken[]): Promise<void> {
  const random = scene.random.fork();
  const { over, envoy } = scene;
  while (!over.aborted) {
    using client = httpClient({ address: envoy.address, port: envoy.ports.plain });
    const until = clockMs() + CONNECTION_MS.least;
    await sendUntil(scene, { client, random, tokens, until });
  }
}

interface Sender {
  readonly client: HttpClient;
  readonly identity?: HeldIdentity;
  readonly random: Random;
  readonly tokens: readonly HeldToken[];
  readonly until: number;
}

async function sendUntil(scene: Scene, sender: Sender): Promise<void> {
  const { identity, random, until } = sender;
  const { over, findings, world } = scene;
  let isOpen = false;
  while (!over.aborted && clockMs() < until) {
    const { asked, sent } = nextRequest(sender);
    const from = clockMs();
    let answer: HttpAnswer;
    try {
      answer = await sender.client.send(sent);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const span = spanSince(from);
      const mayBeRefused =
        !isOpen &&
        identity !== undefined &&
        (isMaybeRevoked(world, identity.serial, span, ENVOY_LAG_MS) || identity.shown.endsAt < span.to + 1000);
      if (!mayBeRefused) findings.wrongAnswer(`no answer ${isOpen ? 'on an open connection' : 'at first'}: ${reason}`);
      findings.count('refused connection');
      await pauseUnless(over, RETRY_MS);
      return;
    }
    isOpen = !answer.isLast;
    judge(scene, { asked, answer, from });
    await pauseUnless(over, random.below(MOST_PAUSE_MS));
  }
}

function judge(
  { world, findings }: Scene,
  { asked, answer, from }: { readonly asked: Asked; readonly answer: HttpAnswer; readonly from: number },
): void {
  const span = spanSince(from);
  const right = rightAnswers(asked, world, span);
  const given = describe(answer);
  findings.requests += 1;
  findings.count(`answer ${given.split(' ')[0]}`);
  if (right.has(given)) return;
  const { token, ...rest } = asked;
  const shown = token === undefined ? rest : { ...rest, token: { kind: token.kind, peer: token.peer } };
  findings.wrongAnswer(`${given} instead of ${[...right].join(' or ')} to ${JSON.stringify(shown)}`);
}

function describe({ status, generation }: HttpAnswer): string {
  const kind = status === 200 ? 'allow' : status === 403 ? 'deny' : String(status);
  return generation === undefined ? kind : `${kind} ${generation}`;
}

function nextRequest({ identity, random, tokens }: Sender): { readonly asked: Asked; readonly sent: HttpSent } {
  const area = random.weighted<Asked['area']>([
    [4, 'orders'],
    [2, 'public'],
    [2, 'token'],
    [2, 'second'],
    [1, 'other'],
    [1, 'unheard'],
  ]);
  const body = random.below(3) === 0 ? nextBody(random) : undefined;
  const withToken = tokens.length > 0 && (area === 'token' || random.below(8) === 0);
  const token = withToken ? random.pick(tokens) : undefined;
  const method = body === undefined ? 'GET' : 'POST';
  const asked: Asked = {
    method,
    area,
    ...(identity === undefined ? {} : { shown: identity.shown }),
    ...(token === undefined ? {} : { token }),
    ...(body === undefined ? {} : { body }),
  };
  const headers = token === undefined ? {} : { authorization: `Bearer ${token.text}` };
  const path = `/${area}/${random.below(1000)}${random.below(2) === 0 ? '' : `?page=${random.below(100)}`}`;
  return { asked, sent: { method, path, ...(body === undefined ? { headers } : withBody(body, headers)) } };
}

function nextBody(random: Random): Body {
  return random.weighted<Body>([
    [6, { amount: random.below(200) }],
    [1, 'broken'],
    [1, 'form'],
    [1, 'oversized'],
  ]);
}

function withBody(body: Body, headers: Readonly<Record<string, string>>): Pick<HttpSent, 'headers' | 'body'> {
  const as = (type: string, text: string) => ({ headers: { ...headers, 'content-type': type }, body: text });
  if (body === 'broken') return as('application/json', '{"amount":');
  if (body === 'form') return as('application/x-www-form-urlencoded', 'amount=1');
  if (body === 'oversized') return as('application/json', JSON.stringify({ pad: 'x'.repeat(MAX_BODY_BYTES) }));
  return as('application/json', JSON.stringify({ note: 'an order', ...body }));
}

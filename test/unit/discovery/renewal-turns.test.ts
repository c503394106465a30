import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetrics, silentLogger } from '../../../src/core/index.ts';
import { deltaProtocol, sotwProtocol, streamResources } from '../../../src/discovery/resource-stream.ts';
import {
  decodeMessage,
  DeltaDiscoveryRequest,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
} from '../../../src/proto/index.ts';
import { settle } from '../../support/sds-stage.ts';
import { makeSecret, viewOf } from '../../support/sds-view.ts';
import { createTestClock } from '../../support/test-clock.ts';

const TYPE_URL = 'type.googleapis.com/test';
const LEASE_MS = 9000;
const MAX = 2 ** 20;

const VARIANTS = {
  sotw: {
    protocol: sotwProtocol,
    ask: () => encodeMessage(DiscoveryRequest, { typeUrl: TYPE_URL, resourceNames: ['rules'] }),
    acknowledge: (first: Uint8Array) => {
      const { nonce: responseNonce, versionInfo } = decodeMessage(DiscoveryResponse, first, MAX);
      return encodeMessage(DiscoveryRequest, {
        typeUrl: TYPE_URL,
        resourceNames: ['rules'],
        responseNonce,
        versionInfo,
      });
    },
  },
  delta: {
    protocol: deltaProtocol,
    ask: () => encodeMessage(DeltaDiscoveryRequest, { typeUrl: TYPE_URL, resourceNamesSubscribe: ['rules'] }),
    acknowledge: () => encodeMessage(DeltaDiscoveryRequest, { typeUrl: TYPE_URL, responseNonce: 'n1' }),
  },
} as const;

for (const [name, { protocol, ask, acknowledge }] of Object.entries(VARIANTS)) {
  test(`what changes while a renewal waits for its turn is sent in its place: ${name}`, async () => {
    const clock = createTestClock();
    const world = { content: 'with somebody', change: (): void => undefined };
    const resource = () => ({ ...makeSecret('rules', world.content), ttlMs: LEASE_MS });
    const turn = { isOver: false, whileWaiting: Promise.withResolvers<void>() };
    const requests = Promise.withResolvers<Uint8Array>();
    let nonces = 0;
    const stream = streamResources<string>(
      protocol(
        { typeUrl: TYPE_URL, unknownName: 'wait', isAggregated: false, nextNonce: () => `n${(nonces += 1)}` },
        { typeUrl: TYPE_URL, isAggregated: false, names: { check: () => undefined } },
      ),
      {
        type: {
          follow: (_caller: unknown, onChange: () => void) => {
            world.change = onChange;
            const view = { ...viewOf(new Map()), lookup: () => ({ kind: 'ready', resource: resource() }) };
            return { ask: () => undefined, view: () => view, [Symbol.dispose]: () => undefined };
          },
          signals: {},
        } as never,
        requests: (async function* () {
          yield ask();
          yield await requests.promise;
          await new Promise(() => undefined);
        })(),
        subjects: (async function* () {
          yield 'somebody';
          await new Promise(() => undefined);
        })(),
      },
      {
        caller: {} as never,
        allowance: { takeBytes: () => undefined, takeRequest: () => undefined } as never,
        books: new Proxy({}, { get: () => () => undefined }) as never,
        stream: { hold: () => undefined },
        turns: {
          get isOver() {
            return turn.isOver;
          },
          next: () => turn.whileWaiting.promise,
          took: () => undefined,
        } as never,
        clock,
        monotonicNow: () => clock.now(),
        logger: silentLogger,
        metrics: noMetrics,
        assertAlive: () => undefined,
      },
    );
    const first = (await stream.next()).value ?? assert.fail();
    assert.match(Buffer.from(first).toString('latin1'), /with somebody/);
    const next = stream.next();
    requests.resolve(acknowledge(first));
    await settle();
    turn.isOver = true;
    await clock.advance(LEASE_MS / 3);
    world.content = 'without anybody';
    world.change();
    turn.isOver = false;
    turn.whileWaiting.resolve();
    const text = Buffer.from((await next).value ?? []).toString('latin1');
    assert.match(text, /without anybody/);
    assert.doesNotMatch(text, /with somebody/);
  });
}

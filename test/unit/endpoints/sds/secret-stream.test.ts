import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  AGGREGATED_DISCOVERY_SERVICE,
  decodeMessage,
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  Secret,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
  unpackAny,
} from '../../../../src/proto/index.ts';
import { sdsStage, SETTINGS, settle, type DrivenStream, type SdsStage } from '../../../support/sds-stage.ts';

const MAX = 2 ** 24;
const typeUrl = SECRET_TYPE_URL;

interface Answer {
  readonly nonce: string;
  readonly version: string;
  /** `name=content`, and `-name` for what was removed. */
  readonly holds: readonly string[];
}

/** One variant of the protocol, as far as these tests have it in common. */
interface Variant {
  readonly name: string;
  readonly path: string;
  ask(names: readonly string[], answer?: Answer, refusal?: string): Uint8Array;
  reply(answer: Answer, names: readonly string[], refusal?: string): Uint8Array;
  readonly read: (bytes: Uint8Array) => Answer;
  /** A request for another type. */
  readonly other: Uint8Array;
}

const errorDetail = (message: string | undefined) => (message === undefined ? null : { code: 13, message });
const show = (bytes: Secret): string => `${bytes.name}=${bytes.genericSecret?.secret?.inlineString}`;

const sotw = (path: string): Variant => {
  const ask: Variant['ask'] = (resourceNames, answer, refusal) =>
    encodeMessage(DiscoveryRequest, {
      typeUrl,
      resourceNames,
      versionInfo: refusal === undefined ? (answer?.version ?? '') : '',
      responseNonce: answer?.nonce ?? '',
      errorDetail: errorDetail(refusal),
      node: { id: 'web-1' },
    });
  return {
    name: path.slice(path.lastIndexOf('/') + 1),
    path,
    ask,
    reply: (answer, names, refusal) => ask(names, answer, refusal),
    other: encodeMessage(DiscoveryRequest, { typeUrl: 'type.googleapis.com/x' }),
    read(bytes) {
      const { nonce, versionInfo: version, resources } = decodeMessage(DiscoveryResponse, bytes, MAX);
      return { nonce, version, holds: resources.map((resource) => show(unpackAny(Secret, resource, MAX))) };
    },
  };
};

const delta = (path: string): Variant => ({
  name: path.slice(path.lastIndexOf('/') + 1),
  path,
  ask: (resourceNamesSubscribe) =>
    encodeMessage(DeltaDiscoveryRequest, { typeUrl, resourceNamesSubscribe, node: { id: 'web-1' } }),
  reply: ({ nonce: responseNonce }, _names, refusal) =>
    encodeMessage(DeltaDiscoveryRequest, { typeUrl, responseNonce, errorDetail: errorDetail(refusal) }),
  other: encodeMessage(DeltaDiscoveryRequest, { typeUrl: 'type.googleapis.com/x' }),
  read(bytes) {
    const { nonce, resources, removedResources } = decodeMessage(DeltaDiscoveryResponse, bytes, MAX);
    const holds = resources.map(({ resource }) => show(unpackAny(Secret, resource ?? assert.fail(), MAX)));
    return { nonce, version: '', holds: [...holds, ...removedResources.map((name) => `-${name}`)] };
  },
});

const VARIANTS = [
  sotw(SECRET_DISCOVERY_SERVICE.streamSecrets.path),
  delta(SECRET_DISCOVERY_SERVICE.deltaSecrets.path),
  sotw(AGGREGATED_DISCOVERY_SERVICE.streamAggregatedResources.path),
  delta(AGGREGATED_DISCOVERY_SERVICE.deltaAggregatedResources.path),
];

const stockOf = (content: Readonly<Record<string, string>>) => new Map(Object.entries(content));

/** The next answer of a stream that is expected to give one. */
async function answerOf(stream: DrivenStream, { read }: Variant): Promise<Answer> {
  return read((await stream.next()) ?? assert.fail('the stream has ended'));
}

/** A stream that has been sent `a`, and has acknowledged it. */
async function opened(stage: SdsStage, variant: Variant): Promise<{ stream: DrivenStream; first: Answer }> {
  stage.stock.set(stockOf({ a: '1' }));
  const stream = stage.stream(variant.path);
  stream.send(variant.ask(['a']));
  const first = await answerOf(stream, variant);
  stream.send(variant.reply(first, ['a']));
  return { stream, first };
}

for (const variant of VARIANTS) {
  suite(variant.name, () => {
    test('an Envoy that was not reading gets the newest content, and no backlog', async () => {
      const stage = sdsStage();
      const { stream } = await opened(stage, variant);
      stage.stock.set(stockOf({ a: '2' }));
      const second = await answerOf(stream, variant); // taken, and not read on
      for (const content of ['3', '4', '5']) {
        stage.stock.set(stockOf({ a: content }));
        await settle();
      }
      stream.send(variant.reply(second, ['a']));
      assert.deepEqual((await answerOf(stream, variant)).holds, ['a=5']);
      stage.stock.set(stockOf({ a: '6' }));
      assert.deepEqual((await answerOf(stream, variant)).holds, ['a=6']);
      await stream.cancel();
    });

    test('what comes and goes unseen is not sent', async () => {
      const stage = sdsStage();
      const { stream } = await opened(stage, variant);
      const next = stream.next();
      await settle();
      for (const content of ['2', '1']) stage.stock.set(stockOf({ a: content }));
      await settle();
      assert.equal(stage.metrics.get('svidgate_sds_pushes_total'), 1);
      stage.stock.set(stockOf({ a: '3' }));
      assert.deepEqual(variant.read((await next) ?? assert.fail()).holds, ['a=3']);
      await stream.cancel();
    });

    test('books, log and metrics tell what was sent and what became of it', async () => {
      const stage = sdsStage();
      const { stream, first } = await opened(stage, variant);
      const coming = stream.next();
      await settle();
      stage.stock.set(stockOf({ a: '2' }));
      const second = variant.read((await coming) ?? assert.fail());
      stream.send(variant.reply(second, ['a'], 'bad key'));
      const third = stream.next();
      await settle();
      stage.stock.set(stockOf({ a: '2', other: '1' }));
      await settle();
      await stream.cancel();
      await third;
      assert.deepEqual(stage.books, [
        'named web-1',
        'sent a',
        'acknowledged a',
        'sent a',
        'refused (bad key) a',
        'unchanged a',
        'closed',
      ]);
      assert.deepEqual(
        stage.lines.map(({ message, node_id, nonce, resource_names }) => [message, node_id, nonce, resource_names]),
        [
          ['secrets pushed', 'web-1', first.nonce, ['a']],
          ['secrets pushed', 'web-1', second.nonce, ['a']],
          ['secrets refused by envoy', 'web-1', undefined, ['a']],
        ],
      );
      assert.deepEqual(Object.fromEntries(stage.metrics), {
        svidgate_sds_streams: 0,
        svidgate_sds_pushes_total: 2,
        svidgate_sds_nacks_total: 1,
        svidgate_sds_push_seconds: 1,
      });
    });

    test('a caller that has ended is sent nothing more', async () => {
      const stage = sdsStage();
      const { stream } = await opened(stage, variant);
      stage.isAlive = false;
      stage.stock.set(stockOf({ a: '2' }));
      await assert.rejects(stream.next(), { code: 'attestation_failed' });
      assert.deepEqual(stage.books.filter((entry) => entry.startsWith('sent')).length, 1);
      assert.deepEqual([stage.followed, stage.metrics.get('svidgate_sds_streams')], [[], 0]);
    });

    test('what is followed is what is asked for, until the stream ends', async () => {
      const stage = sdsStage();
      const { stream } = await opened(stage, variant);
      assert.deepEqual(stage.followed, [new Set(['a'])]);
      stream.halfClose();
      assert.equal(await stream.next(), undefined);
      assert.deepEqual(stage.followed, []);
      assert.equal(stage.books.at(-1), 'closed');
    });

    test('the loss of all entries ends it with an error, or keeps it silent', async () => {
      const stage = sdsStage();
      const { stream } = await opened(stage, variant);
      stage.isRegistered.set(false);
      await assert.rejects(stream.next(), { code: 'not_authorized', message: /\["a"\]/ });
      assert.equal(stage.audited.length, 1);
      const patient = sdsStage({ unknownName: 'wait' });
      const { stream: silent } = await opened(patient, variant);
      patient.isRegistered.set(false);
      patient.stock.set(stockOf({ a: '2' }));
      const next = silent.next();
      await settle();
      assert.equal(patient.metrics.get('svidgate_sds_pushes_total'), 1);
      patient.isRegistered.set(true);
      assert.deepEqual(variant.read((await next) ?? assert.fail()).holds, ['a=2']);
      await silent.cancel();
    });

    test('requests beyond the rate end the stream; replies to what was sent are free', async () => {
      const limits = { ...SETTINGS.limits, requestsPerSecond: 1 };
      const stage = sdsStage({ limits });
      const { stream, first } = await opened(stage, variant);
      let last = first;
      for (let content = 2; content < 40; content += 1) {
        stage.stock.set(stockOf({ a: `${content}` }));
        last = await answerOf(stream, variant);
        stream.send(variant.reply(last, ['a']));
      }
      for (let count = 0; count < 10; count += 1) stream.send(variant.reply(first, ['a']));
      await assert.rejects(stream.next(), { code: 'overloaded', message: 'more than 1 requests a second' });
      assert.equal(stage.metrics.get('svidgate_sds_refusals_total requests'), 1);
    });

    test('a request with too many names ends the stream before it is decoded', async () => {
      const stage = sdsStage();
      const stream = stage.stream(variant.path);
      stream.send(variant.ask(Array.from({ length: 101 }, (_, index) => `n${index}`)));
      await assert.rejects(stream.next(), { code: 'overloaded', message: 'more than 100 resource names' });
      assert.equal(stage.metrics.get('svidgate_sds_refusals_total names'), 1);
      assert.deepEqual([stage.followed, stage.books], [[], ['closed']]);
    });

    const wrong = [
      { what: 'bytes that are no message', bytes: Buffer.from([0xff, 0xff, 0xff]) },
      { what: 'a text that is not UTF-8', bytes: Buffer.from([0x1a, 0x01, 0xff]) },
      { what: 'another type', bytes: variant.other },
    ];
    for (const { what, bytes } of wrong) {
      test(`${what} ends the stream as an invalid request, and is accounted for`, async () => {
        const stage = sdsStage();
        const stream = stage.stream(variant.path);
        stream.send(bytes);
        await assert.rejects(stream.next(), { code: 'invalid_request' });
        assert.deepEqual(stage.audited, [`call_refused ${variant.name}`]);
      });
    }
  });
}

test('names that come one by one are too many together', async () => {
  const stage = sdsStage({ unknownName: 'wait' });
  const [, variant] = VARIANTS;
  const stream = stage.stream(variant?.path ?? '');
  for (let from = 0; from < 150; from += 50) {
    const resourceNamesSubscribe = Array.from({ length: 50 }, (_, index) => `n${from + index}`);
    stream.send(encodeMessage(DeltaDiscoveryRequest, { resourceNamesSubscribe }));
  }
  await assert.rejects(stream.next(), { code: 'overloaded', message: 'more than 100 resource names' });
});

test('streams beyond the limit are refused, and one that ends makes room', async () => {
  const stage = sdsStage({ limits: { ...SETTINGS.limits, streams: 2 } });
  const [variant = assert.fail()] = VARIANTS;
  const [one, two] = [await opened(stage, variant), await opened(stage, variant)];
  await assert.rejects(opened(stage, variant), { code: 'overloaded', message: 'more than 2 open streams' });
  await one.stream.cancel();
  const three = await opened(stage, variant);
  await Promise.all([two.stream.cancel(), three.stream.cancel()]);
});

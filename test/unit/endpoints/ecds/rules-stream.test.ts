import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  AGGREGATED_DISCOVERY_SERVICE,
  decodeMessage,
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResource,
  DiscoveryResponse,
  durationToMs,
  encodeMessage,
  EXTENSION_CONFIG_DISCOVERY_SERVICE,
  EXTENSION_CONFIG_TYPE_URL,
  RbacFilter,
  RESOURCE_TYPE_URL,
  SECRET_TYPE_URL,
  TypedExtensionConfig,
  unpackAny,
  type Any,
  type Duration,
} from '../../../../src/proto/index.ts';
import { parseSpiffeId } from '../../../../src/spiffe/index.ts';
import { GATE_ID, LEASE_MS, ruleOf, rulesStage, setOf, type RulesStage } from '../../../support/rules-stage.ts';
import { settle, type DrivenStream } from '../../../support/sds-stage.ts';

const MAX = 2 ** 24;
const NAME = 'svidgate.offload.orders';

interface Answer {
  readonly nonce: string;
  readonly version: string;
  /** `name: rule,rule for TTL`, `name: renewed for TTL`, `name: none`. */
  readonly holds: readonly string[];
}

interface NodeInit {
  readonly id: string;
  readonly metadata?: { readonly fields: Readonly<Record<string, { readonly boolValue: boolean }>> };
  readonly userAgentBuildVersion?: { readonly version: { readonly majorNumber: number; readonly minorNumber: number } };
}

interface Variant {
  readonly name: string;
  readonly path: string;
  readonly typeUrl: string;
  /** `null`: without one, as in all messages of a stream but the first. */
  ask(names: readonly string[], node?: NodeInit | null): Uint8Array;
  reply(answer: Answer, names: readonly string[], refusal?: string): Uint8Array;
  read(bytes: Uint8Array): Answer;
}

const nodeOf = (minorNumber: number): NodeInit => ({
  id: 'gateway-1',
  userAgentBuildVersion: { version: { majorNumber: 1, minorNumber } },
});
const NEWEST = nodeOf(40);

function show(name: string, any: Any | null | undefined, ttl: Duration | null | undefined): string {
  const lease = ttl === null || ttl === undefined ? '' : ` for ${durationToMs(ttl)}`;
  if (any === null || any === undefined) return `${name}: renewed${lease}`;
  const { typedConfig, ...config } = unpackAny(TypedExtensionConfig, any, MAX);
  const { shadowRules } = unpackAny(RbacFilter, typedConfig ?? assert.fail(), MAX);
  const rules = Object.keys(shadowRules?.policies ?? {});
  return `${config.name}: ${rules.length === 0 ? 'none' : rules.join()}${lease}`;
}

const errorDetail = (message: string | undefined) => (message === undefined ? null : { code: 13, message });

const sotw = (path: string, typeUrl = EXTENSION_CONFIG_TYPE_URL): Variant => ({
  name: path.slice(path.lastIndexOf('/') + 1),
  path,
  typeUrl,
  ask: (resourceNames, node = NEWEST) => encodeMessage(DiscoveryRequest, { typeUrl, resourceNames, node }),
  reply: ({ nonce: responseNonce, version }, resourceNames, refusal) =>
    encodeMessage(DiscoveryRequest, {
      typeUrl,
      resourceNames,
      responseNonce,
      versionInfo: refusal === undefined ? version : '',
      errorDetail: errorDetail(refusal),
    }),
  read(bytes) {
    const { nonce, versionInfo: version, resources } = decodeMessage(DiscoveryResponse, bytes, MAX);
    const holds = resources.map((any) => {
      if (any.type_url !== RESOURCE_TYPE_URL) return show('', any, undefined);
      const { name, resource, ttl } = unpackAny(DiscoveryResource, any, MAX);
      return show(name, resource, ttl);
    });
    return { nonce, version, holds };
  },
});

const delta = (path: string, typeUrl = EXTENSION_CONFIG_TYPE_URL): Variant => ({
  name: path.slice(path.lastIndexOf('/') + 1),
  path,
  typeUrl,
  ask: (resourceNamesSubscribe, node = NEWEST) =>
    encodeMessage(DeltaDiscoveryRequest, { typeUrl, resourceNamesSubscribe, node }),
  reply: ({ nonce: responseNonce }, _names, refusal) =>
    encodeMessage(DeltaDiscoveryRequest, { typeUrl, responseNonce, errorDetail: errorDetail(refusal) }),
  read(bytes) {
    const { nonce, resources, removedResources } = decodeMessage(DeltaDiscoveryResponse, bytes, MAX);
    const holds = resources.map(({ name, resource, ttl }) => show(name, resource, ttl));
    return { nonce, version: '', holds: [...holds, ...removedResources.map((name) => `-${name}`)] };
  },
});

const { streamExtensionConfigs, deltaExtensionConfigs } = EXTENSION_CONFIG_DISCOVERY_SERVICE;
const { streamAggregatedResources, deltaAggregatedResources } = AGGREGATED_DISCOVERY_SERVICE;
const VARIANTS = [
  sotw(streamExtensionConfigs.path),
  delta(deltaExtensionConfigs.path),
  sotw(streamAggregatedResources.path),
  delta(deltaAggregatedResources.path),
];

async function answerOf(stream: DrivenStream, { read }: Pick<Variant, 'read'>): Promise<Answer> {
  return read((await stream.next()) ?? assert.fail('the stream has ended'));
}

/** A stream that was sent rules `one`, and has acknowledged them. */
async function opened(variant: Variant): Promise<{ stage: RulesStage; stream: DrivenStream; first: Answer }> {
  const stage = await rulesStage();
  stage.sets.set(new Map([setOf('orders', 'one')]));
  const stream = stage.stream(variant.path);
  stream.send(variant.ask([NAME]));
  const first = await answerOf(stream, variant);
  stream.send(variant.reply(first, [NAME]));
  return { stage, stream, first };
}

/** What comes next, if anything does while the clock stands still. */
async function nothingComes(next: Promise<Uint8Array | undefined>): Promise<void> {
  let came = false;
  void next.then(() => (came = true));
  await settle();
  assert.equal(came, false);
}

for (const variant of VARIANTS) {
  const isSotw = variant.name.startsWith('Stream');
  const renewed = isSotw ? `${NAME}: one for ${LEASE_MS}` : `${NAME}: renewed for ${LEASE_MS}`;

  suite(variant.name, () => {
    test('rules come with a lease, a change is pushed, and no rules need no lease', async () => {
      const { stage, stream, first } = await opened(variant);
      assert.deepEqual(first.holds, [`${NAME}: one for ${LEASE_MS}`]);
      stage.sets.set(new Map([setOf('orders', 'one', 'two')]));
      const second = await answerOf(stream, variant);
      assert.deepEqual(second.holds, [`${NAME}: one,two for ${LEASE_MS}`]);
      stream.send(variant.reply(second, [NAME]));
      stage.sets.set(new Map());
      const third = await answerOf(stream, variant);
      assert.deepEqual(third.holds, [`${NAME}: none`]);
      stream.send(variant.reply(third, [NAME]));
      const next = stream.next();
      await stage.clock.advance(10 * LEASE_MS);
      await nothingComes(next);
      await stream.cancel();
      assert.deepEqual([stage.followed, stage.clock.sleeping], [[], 0]);
    });

    test('a lease is renewed after a third of it, and only once the last answer was acknowledged', async () => {
      const { stage, stream } = await opened(variant);
      let next = stream.next();
      await stage.clock.advance(LEASE_MS / 3 - 1);
      await nothingComes(next);
      await stage.clock.advance(1);
      const first = variant.read((await next) ?? assert.fail());
      assert.deepEqual(first.holds, [renewed]);
      next = stream.next();
      await stage.clock.advance(10 * LEASE_MS);
      await nothingComes(next);
      // It comes late: in between the Envoy may have dropped what it held, so that it is sent whole.
      stream.send(variant.reply(first, [NAME]));
      const whole = variant.read((await next) ?? assert.fail());
      assert.deepEqual(whole.holds, [`${NAME}: one for ${LEASE_MS}`]);
      stream.send(variant.reply(whole, [NAME]));
      next = stream.next();
      await stage.clock.advance(LEASE_MS / 3);
      assert.deepEqual(variant.read((await next) ?? assert.fail()).holds, [renewed]);
      assert.equal(stage.metrics.get('svidgate_offload_pushes_total'), 2);
      await stream.cancel();
    });

    test('what was refused is not renewed, and no rules take its place until they change', async () => {
      const { stage, stream } = await opened(variant);
      stage.sets.set(new Map([setOf('orders', 'bad')]));
      const bad = await answerOf(stream, variant);
      stream.send(variant.reply(bad, [NAME], 'cannot be'));
      const none = await answerOf(stream, variant);
      assert.deepEqual(none.holds, [`${NAME}: none`]);
      stream.send(variant.reply(none, [NAME]));
      const next = stream.next();
      await stage.clock.advance(LEASE_MS);
      await nothingComes(next);
      stage.sets.set(new Map([setOf('orders', 'good')]));
      assert.deepEqual(variant.read((await next) ?? assert.fail()).holds, [`${NAME}: good for ${LEASE_MS}`]);
      assert.equal(stage.metrics.get('svidgate_offload_nacks_total'), 1);
      assert.ok(stage.books.includes(`refused (cannot be) ${NAME}`));
      await stream.cancel();
    });

    test('an Envoy that refuses a renewal has dropped what it held, and is sent it again', async () => {
      const { stage, stream } = await opened(variant);
      const next = stream.next();
      await stage.clock.advance(LEASE_MS / 3);
      const renewal = variant.read((await next) ?? assert.fail());
      stream.send(variant.reply(renewal, [NAME], 'no such resource'));
      assert.deepEqual((await answerOf(stream, variant)).holds, [`${NAME}: one for ${LEASE_MS}`]);
      assert.equal(stage.metrics.get('svidgate_offload_nacks_total'), undefined);
      await stream.cancel();
    });

    test('policies that are not there, or not for the caller, have no rules; other names are not answered', async () => {
      const stage = await rulesStage();
      const stream = stage.stream(variant.path);
      stream.send(variant.ask(['svidgate.offload.x', 'svidgate.offload.', 'other', '*']));
      assert.deepEqual((await answerOf(stream, variant)).holds, ['svidgate.offload.x: none']);
      await stream.cancel();
    });

    test('rules follow the identity, and whoever loses it loses them', async () => {
      const { stage, stream } = await opened(variant);
      assert.deepEqual(stage.followed, [`orders of ${GATE_ID}`]);
      const other = parseSpiffeId('spiffe://example.test/other');
      stage.ids.set([other]);
      const next = stream.next();
      await nothingComes(next);
      assert.deepEqual(stage.followed, [`orders of ${other}`]);
      stage.ids.set([]);
      assert.deepEqual(variant.read((await next) ?? assert.fail()).holds, [`${NAME}: none`]);
      assert.deepEqual(stage.followed, []);
      await stream.cancel();
      const stranger = await rulesStage();
      stranger.ids.set([]);
      const silent = stranger.stream(variant.path);
      silent.send(variant.ask([NAME]));
      await nothingComes(silent.next());
      await silent.cancel();
    });

    test('a process that has ended is neither pushed to nor renewed', async () => {
      const pushed = await opened(variant);
      pushed.stage.isAlive = false;
      pushed.stage.sets.set(new Map([setOf('orders', 'two')]));
      await assert.rejects(pushed.stream.next(), { code: 'attestation_failed' });
      const renewing = await opened(variant);
      const next = renewing.stream.next();
      renewing.stage.isAlive = false;
      const refused = assert.rejects(next, { code: 'attestation_failed' });
      await renewing.stage.clock.advance(LEASE_MS / 3);
      await refused;
    });

    for (const { what, node } of [
      { what: 'does not say its version', node: { id: 'x' } },
      { what: 'is older than leases were tried with', node: nodeOf(35) },
    ]) {
      test(`an Envoy that ${what} is sent no rules`, async () => {
        const stage = await rulesStage();
        stage.sets.set(new Map([setOf('orders', 'one')]));
        const stream = stage.stream(variant.path);
        stream.send(variant.ask([NAME], node));
        assert.deepEqual((await answerOf(stream, variant)).holds, [`${NAME}: none`]);
        await stream.cancel();
      });
    }

    test('rules that cannot be encoded are none, and the log says so', async () => {
      const { stage, stream } = await opened(variant);
      const broken = { ...ruleOf('broken'), request: { kind: 'all', of: [] as never } } as const;
      stage.sets.set(new Map([['orders', { policy: 'orders', policyDigest: 'x', allow: [broken] }]]));
      assert.deepEqual((await answerOf(stream, variant)).holds, [`${NAME}: none`]);
      assert.equal(stage.lines.filter(({ message }) => message === 'offload rules cannot be encoded').length, 1);
      await stream.cancel();
    });
  });
}

for (const [of, rules, secrets] of [
  ['the state of the world', VARIANTS[2], sotw(streamAggregatedResources.path, SECRET_TYPE_URL)],
  ['delta', VARIANTS[3], delta(deltaAggregatedResources.path, SECRET_TYPE_URL)],
] as const) {
  test(`rules and secrets share an aggregated stream of ${of}, each with its own versions`, async () => {
    assert.ok(rules !== undefined);
    const stage = await rulesStage();
    stage.sets.set(new Map([setOf('orders', 'one')]));
    stage.stock.set(new Map([['cert', '1']]));
    const stream = stage.stream(rules.path);
    stream.send(secrets.ask(['cert']));
    const typeOf = (bytes: Uint8Array): string =>
      rules.name.startsWith('Stream')
        ? decodeMessage(DiscoveryResponse, bytes, MAX).typeUrl
        : decodeMessage(DeltaDiscoveryResponse, bytes, MAX).typeUrl;
    const secret = (await stream.next()) ?? assert.fail();
    assert.equal(typeOf(secret), SECRET_TYPE_URL);
    stream.send(rules.ask([NAME], null));
    const first = await answerOf(stream, rules);
    assert.deepEqual(first.holds, [`${NAME}: one for ${LEASE_MS}`]);
    stream.send(rules.reply(first, [NAME]));
    stage.stock.set(new Map([['cert', '2']]));
    assert.equal(typeOf((await stream.next()) ?? assert.fail()), SECRET_TYPE_URL);
    stage.sets.set(new Map([setOf('orders', 'two')]));
    assert.deepEqual((await answerOf(stream, rules)).holds, [`${NAME}: two for ${LEASE_MS}`]);
    assert.deepEqual(
      stage.books.filter((entry) => entry.startsWith('sent')),
      ['sent cert', `sent ${NAME}`, 'sent cert', `sent ${NAME}`],
    );
    // The secret is taken away: the whole stream ends, and so do the leases.
    stage.stock.set(new Map());
    if (rules.name.startsWith('Stream')) await assert.rejects(stream.next(), { code: 'not_authorized' });
    else await stream.cancel();
    assert.deepEqual(stage.followed, []);
  });
}

for (const [of, rules, secrets] of [
  ['the state of the world', VARIANTS[2], sotw(streamAggregatedResources.path, SECRET_TYPE_URL)],
  ['delta', VARIANTS[3], delta(deltaAggregatedResources.path, SECRET_TYPE_URL)],
] as const) {
  test(`the Envoy of an aggregated stream of ${of} is named for both by its first message, for rules`, async () => {
    assert.ok(rules !== undefined);
    const stage = await rulesStage();
    stage.sets.set(new Map([setOf('orders', 'one')]));
    stage.stock.set(new Map([['cert', '1']]));
    const stream = stage.stream(rules.path);
    stream.send(rules.ask([NAME]));
    await answerOf(stream, rules);
    stream.send(secrets.ask(['cert'], null));
    assert.ok((await stream.next()) !== undefined);
    assert.deepEqual(
      stage.books.filter((entry) => entry.startsWith('named')),
      ['named gateway-1', 'named gateway-1'],
    );
    await stream.cancel();
  });
}

for (const { what, metadata, isLeft } of [
  { what: 'plain roots', metadata: { fields: { disable_spiffe_cert_validation: { boolValue: true } } }, isLeft: true },
  { what: 'the SPIFFE validator', metadata: undefined, isLeft: false },
]) {
  test(`with foreign trust domains, an Envoy with ${what} ${isLeft ? 'is sent no rules' : 'goes by rules'}`, async () => {
    const stage = await rulesStage();
    stage.sets.set(new Map([setOf('orders', 'one')]));
    const variant = delta(deltaExtensionConfigs.path);
    const stream = stage.stream(variant.path);
    stream.send(variant.ask([NAME], { ...NEWEST, ...(metadata === undefined ? {} : { metadata }) }));
    const first = await answerOf(stream, variant);
    assert.deepEqual(first.holds, [`${NAME}: one for ${LEASE_MS}`]);
    stream.send(variant.reply(first, [NAME]));
    stage.hasForeign.set(true);
    const next = stream.next();
    if (isLeft) assert.deepEqual(variant.read((await next) ?? assert.fail()).holds, [`${NAME}: none`]);
    else await nothingComes(next);
    await stream.cancel();
  });
}

test('a type that is none of these ends an aggregated stream', async () => {
  const stage = await rulesStage();
  const stream = stage.stream(streamAggregatedResources.path);
  stream.send(encodeMessage(DiscoveryRequest, { typeUrl: 'type.googleapis.com/x' }));
  await assert.rejects(stream.next(), {
    code: 'invalid_request',
    message: /must be .*Secret or .*TypedExtensionConfig$/,
  });
});

test('a Fetch call is answered by no rules, since nothing would renew them', async () => {
  const stage = await rulesStage();
  stage.sets.set(new Map([setOf('orders', 'one')]));
  const variant = sotw(streamExtensionConfigs.path);
  assert.deepEqual(
    variant.read(await stage.fetch(variant.ask([NAME]))).holds,
    [`${NAME}: none`].map((text) => text),
  );
  assert.deepEqual(stage.followed, []);
});

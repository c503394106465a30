import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { after, before, describe, test } from 'node:test';
import { encodeDeltaAnswer, encodeDeltaRenewal, encodeSotwAnswer } from '../../src/discovery/encode-answer.ts';
import type { EncodedResource } from '../../src/discovery/index.ts';
import { encodeNoRules, encodeRules, OFFLOAD_NAMES, type OffloadRule } from '../../src/offload/index.ts';
import {
  encodeMessage,
  EXTENSION_CONFIG_TYPE_URL,
  packAny,
  RbacFilter,
  TypedExtensionConfig,
} from '../../src/proto/index.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { linkEnvoy } from '../support/envoy.ts';
import { startOffloadEnvoy, type OffloadEnvoy } from '../support/offload-envoy.ts';
import { startRulesStandIn, type RawRulesStream, type RulesStandIn } from '../support/rules-stand-in.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const TTL_MS = 1500;
/** What a busy machine may add. */
const SLACK_MS = 1500;

const PORTS = [
  { name: 'sotw', policy: 'sotw', source: 'GRPC' },
  { name: 'delta', policy: 'delta', source: 'DELTA_GRPC' },
  { name: 'ads', policy: 'ads', source: 'ADS' },
] as const;

const ANYONE: Omit<OffloadRule, 'id'> = {
  request: { kind: 'always' },
  peer: { kind: 'anyone', except: [] },
  origin: [],
};

function rulesOf(policy: string, id: string, ttlMs: number | undefined = TTL_MS): EncodedResource {
  return resourceOf(policy, encodeRules({ policy, policyDigest: 'd', allow: [{ id, ...ANYONE }] }), ttlMs);
}

/** For peers of all lengths and characters that IDs can have: Envoy limits how large a regular expression is. */
function rulesForAll(policy: string): EncodedResource {
  const characters = 'Aa0/._-Zz9';
  const ids = Array.from({ length: 78 }, (_, index) => {
    return `spiffe://${characters.charAt(index % characters.length).repeat(index + 1)}`.slice(0, 86);
  });
  const mixed = Array.from({ length: 76 }, (_, index) => `spiffe://${characters.repeat(8)}`.slice(0, index + 10));
  const allow = [...ids, ...mixed].map((text, index): OffloadRule => {
    return { id: String(index), ...ANYONE, peer: { kind: 'peers', of: [{ kind: 'exact', text }], except: [] } };
  });
  const encoded = encodeRules({ policy, policyDigest: 'd', allow });
  assert.deepEqual(encoded.left, []);
  return resourceOf(policy, encoded, TTL_MS);
}

function noRulesOf(policy: string): EncodedResource {
  return resourceOf(policy, encodeNoRules(policy), undefined);
}

/** An RBAC filter that Envoy refuses: a rule without conditions. */
function brokenRulesOf(policy: string): EncodedResource {
  const filter = encodeMessage(RbacFilter, { shadowRules: { policies: { broken: {} } } });
  const typedConfig = packAny('type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC', filter);
  const bytes = encodeMessage(TypedExtensionConfig, { name: OFFLOAD_NAMES.resource(policy), typedConfig });
  return resourceOf(policy, { bytes, version: 'broken' }, TTL_MS);
}

function resourceOf(
  policy: string,
  { bytes, version }: { readonly bytes: Uint8Array; readonly version: string },
  ttlMs: number | undefined,
): EncodedResource {
  const facts = { kind: 'offload' } as const;
  return { name: OFFLOAD_NAMES.resource(policy), version, bytes, facts, ...(ttlMs === undefined ? {} : { ttlMs }) };
}

let nonces = 0;

/** Sends it, and gives why the Envoy refused it; undefined when it took it. */
async function push(stream: RawRulesStream, resource: EncodedResource): Promise<string | undefined> {
  const nonce = `n${(nonces += 1)}`;
  const frame = { typeUrl: EXTENSION_CONFIG_TYPE_URL, nonce };
  const isSotw = stream.variant === 'sotw';
  stream.send(
    isSotw ? encodeSotwAnswer([resource], resource.version, frame) : encodeDeltaAnswer([resource], [], frame),
  );
  return (await stream.reply(nonce)).refusal;
}

/** As svidgate does: of the state of the world, Envoy takes the whole content only for a sign of life. */
async function renew(stream: RawRulesStream, resource: EncodedResource): Promise<string | undefined> {
  if (stream.variant === 'sotw') return await push(stream, resource);
  const { name, version, ttlMs = 0 } = resource;
  const nonce = `n${(nonces += 1)}`;
  const frame = { typeUrl: EXTENSION_CONFIG_TYPE_URL, nonce };
  stream.send(encodeDeltaRenewal([{ name, version, ttlMs }], frame));
  return (await stream.reply(nonce)).refusal;
}

for (const version of envoyVersions()) {
  for (const ads of ['GRPC', 'DELTA_GRPC'] as const) {
    describe(`the lease of rules on ${version.name} with ADS ${ads}`, { skip: version.skip, concurrency: true }, () => {
      const open = new AsyncDisposableStack();
      let standIn: RulesStandIn;
      let envoy: OffloadEnvoy;
      // The other variant's Envoy need not try again what is not about ADS.
      const ports = ads === 'GRPC' ? PORTS : PORTS.filter(({ source }) => source === 'ADS');

      before(async () => {
        const { path: folder } = open.use(await tempFolder());
        standIn = open.use(await startRulesStandIn(folder));
        const executable = await linkEnvoy(folder, `envoy-${ads}`, version.path);
        envoy = open.use(
          await startOffloadEnvoy({ name: `lease-${ads}`, folder, socket: standIn.socket, ports, ads, executable }),
        );
      });
      after(() => open.disposeAsync());

      for (const { name, policy } of ports) {
        const until = (isOffloaded: boolean, limitMs: number) =>
          waitUntil(`${name} to be ${isOffloaded ? 'offloaded' : 'asked about'}`, limitMs, async () => {
            return (await envoy.isOffloaded(name)) === isOffloaded;
          });

        test(`${name}: rules end by themselves, and nothing else ends or keeps them`, async () => {
          assert.equal(await envoy.isOffloaded(name), false, 'without an answer everything is asked about');
          const stream = await standIn.streamFor(OFFLOAD_NAMES.resource(policy));
          const rules = rulesOf(policy, 'one');
          assert.equal(await push(stream, rules), undefined);
          await until(true, 5000);
          // Renewed, it lives longer than its time.
          const start = performance.now();
          while (performance.now() - start < 2 * TTL_MS) {
            assert.equal(await renew(stream, rules), undefined);
            assert.equal(await envoy.isOffloaded(name), true);
            await new Promise((resolve) => setTimeout(resolve, TTL_MS / 5));
          }
          assert.equal(await renew(stream, rules), undefined);
          const renewed = performance.now();
          await until(false, TTL_MS + SLACK_MS);
          assert.ok(performance.now() - renewed > TTL_MS * 0.8, 'it ended before its time');
          // What has ended comes back by its content, the same one included.
          if (stream.variant === 'delta') assert.match((await renew(stream, rules)) ?? '', /type URL/);
          assert.equal(await push(stream, rules), undefined);
          await until(true, 5000);
          // A broken one is refused, the one before stays and ends.
          assert.match((await push(stream, brokenRulesOf(policy))) ?? '', /must contain at least 1 item/);
          assert.equal(await envoy.isOffloaded(name), true);
          await until(false, TTL_MS + SLACK_MS);
          assert.equal(await push(stream, rulesForAll(policy)), undefined, 'IDs of all lengths that are told');
          // No rules are in force at once.
          assert.equal(await push(stream, rulesOf(policy, 'two')), undefined);
          await until(true, 5000);
          assert.equal(await push(stream, noRulesOf(policy)), undefined);
          await until(false, 1000);
          // The stream breaks: they stay until their time is over.
          assert.equal(await push(stream, rulesOf(policy, 'three')), undefined);
          await until(true, 5000);
          stream.end();
          assert.equal(await envoy.isOffloaded(name), true);
          await until(false, TTL_MS + SLACK_MS);
        });
      }
    });
  }
}

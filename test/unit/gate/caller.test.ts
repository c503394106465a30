import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { identifyCaller, mayAsk, type CallerSources, type GateAccess } from '../../../src/gate/caller.ts';
import { parseSpiffeId, parseSpiffeIdPattern } from '../../../src/spiffe/index.ts';
import type { Peer } from '../../../src/transport/index.ts';

const ID = 'spiffe://example.test';

interface Line {
  readonly who: string;
  readonly policies: readonly string[];
}

interface Listener {
  readonly policies: readonly string[];
  readonly defaultPolicy: string;
  readonly lines?: readonly Line[] | undefined;
}

function accessOf({ policies, defaultPolicy, lines }: Listener): GateAccess {
  const callers = lines?.map((line) => ({
    pattern: parseSpiffeIdPattern(ID + line.who),
    policies: new Set(line.policies),
  }));
  return {
    listener: 'gate',
    policies: new Set(policies),
    defaultPolicy,
    ...(callers === undefined ? {} : { callers }),
  };
}

/** Sources for processes that have these IDs. */
function sourcesFor(paths: readonly string[], access: GateAccess): CallerSources {
  const attestation = { selectors: new Set(), assertAlive: () => undefined };
  return {
    access,
    attestor: { attest: () => Promise.resolve(attestation as never) },
    entries: { match: () => paths.map((path) => ({ spiffeId: parseSpiffeId(ID + path) }) as never) },
  };
}

type Who = { readonly kind: 'unix' | 'tls' | 'tcp'; readonly paths: readonly [string, ...string[]] };

function peerOf({ kind, paths: [first] }: Who): Peer {
  const address = '127.0.0.1:1';
  if (kind === 'unix') return { kind, connectionId: 1, process: {} as never };
  return kind === 'tls'
    ? { kind, connectionId: 1, address, spiffeId: ID + first, serial: '1' }
    : { kind, connectionId: 1, address };
}

/** The rules once more, in other words. */
function expected(who: Who, policy: string, { policies, defaultPolicy, lines }: Listener): string {
  const ids = who.kind === 'tls' ? who.paths.slice(0, 1) : who.paths;
  const mine = (lines ?? []).filter((line) =>
    line.who.endsWith('/**') ? ids.some((id) => id.startsWith(line.who.slice(0, -2))) : ids.includes(line.who),
  );
  if (who.kind !== 'tcp' && lines !== undefined && mine.length === 0) return 'caller_not_allowed';
  if (!policies.includes(policy)) return 'no';
  if (who.kind === 'tcp') return policy === defaultPolicy ? 'yes' : 'no';
  if (lines === undefined) return 'yes';
  return mine.some((line) => line.policies.includes(policy)) ? 'yes' : 'no';
}

async function actual(who: Who, policy: string, listener: Listener): Promise<string> {
  const access = accessOf(listener);
  const caller = await identifyCaller(peerOf(who), sourcesFor(who.paths, access)).catch(
    (error: unknown) => SvidgateError.from(error).code,
  );
  if (typeof caller === 'string') return caller;
  return mayAsk(caller, policy, access) ? 'yes' : 'no';
}

describe('who may ask for what', () => {
  const policy = fc.constantFrom('default', 'red', 'blue', 'green', '');
  const path = fc.constantFrom('/a', '/a/b', '/a/b/c', '/ab', '/b');
  const policies = fc.subarray(['default', 'red', 'blue'] as string[]);
  const line = fc.record({ who: fc.oneof(path, fc.constantFrom('/**', '/a/**', '/a/b/**')), policies });
  const listener: fc.Arbitrary<Listener> = fc.record({
    policies,
    defaultPolicy: fc.constantFrom('default', 'red'),
    lines: fc.option(fc.array(line, { maxLength: 3 }), { nil: undefined }),
  });
  const who: fc.Arbitrary<Who> = fc.record({
    kind: fc.constantFrom('unix', 'tls', 'tcp'),
    paths: fc.array(path, { minLength: 1, maxLength: 3 }) as fc.Arbitrary<[string, ...string[]]>,
  });

  test('as another reading of the rules says', async () => {
    const same = fc.asyncProperty(who, policy, listener, async (one, asked, at) => {
      assert.equal(await actual(one, asked, at), expected(one, asked, at));
    });
    await fc.assert(same, { numRuns: 3000 });
  });
});

describe('callers that are nobody', () => {
  const access = accessOf({ policies: ['default'], defaultPolicy: 'default' });
  const cases: readonly (readonly [name: string, peer: Peer, paths: readonly string[], code: string])[] = [
    ['a process that no entry matches', peerOf({ kind: 'unix', paths: ['/a'] }), [], 'no_identity'],
    [
      'a certificate without a SPIFFE ID',
      { kind: 'tls', connectionId: 1, address: '', spiffeId: 'https://example.test/a', serial: '1' },
      ['/a'],
      'attestation_failed',
    ],
    ['a peer of a kind that is not known', { kind: 'vsock', connectionId: 1 } as never, ['/a'], 'attestation_failed'],
  ];
  for (const [name, peer, paths, code] of cases) {
    test(name, async () => {
      await assert.rejects(identifyCaller(peer, sourcesFor(paths, access)), { code });
    });
  }
});

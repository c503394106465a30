/** `authz.path_guard` beside what real Envoys make of the same paths. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:https';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { parseTarget } from '../../src/gate/go-url.ts';
import { guardTarget, isAmbiguous, normalizeTarget } from '../../src/gate/path-guard.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startGateEnvoy, type GateEnvoy } from '../support/gate-envoy.ts';
import { startPathEnvoy, type Forwarded, type PathEnvoy } from '../support/path-envoy.ts';
import { entriesFor, startTestServer } from '../support/server.ts';

const NORMALIZING = { normalize_path: true, merge_slashes: true };
const MANAGERS = {
  forward: { ...NORMALIZING, path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' },
  redirect: { ...NORMALIZING, path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT' },
  reject: { ...NORMALIZING, path_with_escaped_slashes_action: 'REJECT_REQUEST' },
  keep: { ...NORMALIZING, path_with_escaped_slashes_action: 'KEEP_UNCHANGED' },
  untouched: {},
};
type Manager = keyof typeof MANAGERS;

const COMMON = ['/', '/', '/', '.', '..', '%2e', '%2E', 'a', 'b', '\\', '%2f', '%2F', '%5c', '%5C'];
const ODD = [
  '%41',
  '%7e',
  '%2D',
  '%25',
  '%252f',
  '%20',
  '%3f',
  '%23',
  '%c0%af',
  '%ff',
  ';',
  '%3b',
  '...',
  '?',
  '&',
  '=',
];
const RARE = [
  '%',
  '%2',
  '%zz',
  '%00',
  '"',
  '<',
  '>',
  '^',
  '`',
  '{',
  '|',
  '}',
  '[',
  ']',
  '*',
  '~',
  '!',
  "'",
  '(',
  '@',
  ':',
];

/** The same ones in each run. */
function oddTargets(): readonly string[] {
  const piece = fc.oneof(
    { arbitrary: fc.constantFrom(...COMMON), weight: 6 },
    { arbitrary: fc.constantFrom(...ODD), weight: 2 },
    { arbitrary: fc.constantFrom(...RARE), weight: 1 },
  );
  const target = fc.array(piece, { minLength: 1, maxLength: 12 }).map((pieces) => `/${pieces.join('')}`);
  return [...new Set(fc.sample(target, { numRuns: 1200, seed: 20261122 }))];
}

const targets = oddTargets();
const hasEscapedSlash = (target: string): boolean => /%2f|%5c/i.test(target.split('?', 1)[0] ?? '');
const hasBadEscape = (target: string): boolean => /%(?![0-9a-f]{2})/i.test(target.split('?', 1)[0] ?? '');

for (const version of envoyVersions()) {
  describe(`paths through ${version.name}`, { skip: version.skip }, () => {
    let envoy: PathEnvoy;
    const answers = new Map<Manager, ReadonlyMap<string, Forwarded>>();
    before(async () => {
      envoy = await startPathEnvoy(version, MANAGERS);
      for (const manager of Object.keys(MANAGERS) as Manager[]) {
        const sent = targets.map(async (target) => [target, await envoy.send(manager, target)] as const);
        answers.set(manager, new Map(await Promise.all(sent)));
      }
    });
    after(async () => envoy[Symbol.asyncDispose]());

    /** Targets that the service got, with what it got. */
    const forwarded = (manager: Manager): readonly (readonly [sent: string, received: string])[] =>
      [...(answers.get(manager) ?? [])].flatMap(([sent, answer]) =>
        answer.kind === 'forwarded' ? [[sent, answer.target] as const] : [],
      );
    /** What the policy is shown is decided by: neither refused nor a 400 for its escapes. */
    const isShown = (target: string): boolean =>
      guardTarget(target, 'normalize') !== 'refused' && !hasBadEscape(target);

    test('`normalize` shows the policy what the service gets, byte for byte', () => {
      const shown = forwarded('forward').filter(([sent]) => isShown(sent));
      assert.ok(shown.length >= 600, `${shown.length} of ${targets.length}`);
      for (const [sent, received] of shown) assert.equal(normalizeTarget(sent), received, sent);
      const refused = forwarded('forward').filter(([sent]) => hasBadEscape(sent));
      assert.ok(refused.length >= 50);
      for (const [sent] of refused) {
        const guarded = guardTarget(sent, 'normalize');
        const seen = guarded === 'refused' ? undefined : (guarded.seen ?? sent);
        if (seen !== undefined) assert.throws(() => parseTarget(seen), { code: 'invalid_request' }, sent);
      }
    });

    test('what Envoy has normalized before it asks is shown as it is', () => {
      for (const manager of ['forward', 'redirect', 'reject'] as const) {
        for (const [, received] of forwarded(manager)) {
          const guarded = guardTarget(received, 'normalize');
          if (guarded !== 'refused') assert.deepEqual(guarded, {}, received);
        }
      }
    });

    test('with other actions on escaped slashes Envoy sends on the same, or nothing', () => {
      for (const [sent, answer] of answers.get('redirect') ?? []) {
        if (!isShown(sent) || answer.kind === 'forwarded') continue;
        if (answer.status === 307) assert.equal(answer.location, normalizeTarget(sent), sent);
        else assert.equal(answer.status, 400, sent);
      }
      for (const manager of ['redirect', 'reject', 'keep'] as const) {
        const plain = forwarded(manager).filter(([sent]) => isShown(sent) && !hasEscapedSlash(sent));
        assert.ok(plain.length >= 100, `${manager}: ${plain.length}`);
        for (const [sent, received] of plain) assert.equal(received, normalizeTarget(sent), `${manager} ${sent}`);
        if (manager === 'keep') continue;
        for (const [sent] of forwarded(manager)) assert.ok(!hasEscapedSlash(sent), `${manager} ${sent}`);
      }
    });

    test('what `reject` lets pass names the same resource before Envoy normalizes it and after', () => {
      for (const [sent, received] of forwarded('untouched')) assert.equal(received, sent);
      const passed = forwarded('forward').filter(([sent]) => !isAmbiguous(sent) && !hasBadEscape(sent));
      assert.ok(passed.length >= 50, String(passed.length));
      const resource = (target: string): readonly string[] => parseTarget(target.split('?', 1)[0] ?? '').path;
      for (const [sent, received] of passed) assert.deepEqual(resource(received), resource(sent), sent);
    });

    test('segments of dots with parameters are refused, as Envoys differ in them', async () => {
      const isOld = version.name.endsWith('1.36');
      for (const target of ['/a/..;/b', '/a/..;x=1/b', '/a/..;x%2fc/../b']) {
        assert.equal(guardTarget(target, 'normalize'), 'refused');
        assert.equal(guardTarget(target, 'reject'), 'refused');
      }
      const answer = await envoy.send('forward', '/a/..;x=1/b');
      assert.deepEqual(answer, { kind: 'forwarded', target: isOld ? '/a/..;x=1/b' : '/b' });
    });
  });
}

/** Denies, and shows what it was shown. */
const POLICY = `package envoy.authz

http := input.attributes.request.http

allow := {"allowed": false, "body": json.marshal([http.path, http.headers[":path"], input.parsed_path])}
`;
const CONFIG = `authz:
  listen: unix:./authz.sock
  path_guard: normalize
  eval_timeout: 1500ms
  policies: { default: { path: ./authz.rego } }
`;

test('the policy behind an Envoy that does not normalize sees what the service behind one that does is sent', async () => {
  const files = { 'authz.rego': POLICY };
  await using server = await startTestServer({ entries: entriesFor('/envoy'), config: CONFIG, files });
  await using asking = await startGateEnvoy(server, { normalize_path: false });
  const [newest] = envoyVersions();
  assert.ok(newest);
  await using envoy = await startPathEnvoy(newest, { forward: MANAGERS.forward });
  using open = new DisposableStack();
  const agent = open.adopt(new Agent({ keepAlive: true, maxSockets: 1 }), (each) => each.destroy());
  let compared = 0;
  for (const target of targets.slice(0, 400)) {
    const answer = await envoy.send('forward', target);
    const shown = await shownTo(asking, { target, agent });
    if (answer.kind === 'answered') continue;
    if (shown === 400) {
      assert.ok(guardTarget(target, 'normalize') === 'refused' || isUnreadable(target), target);
      continue;
    }
    const { path } = parseTarget(answer.target);
    assert.deepEqual(shown, [answer.target, answer.target, path], target);
    compared += 1;
  }
  assert.ok(compared >= 150, String(compared));
});

function isUnreadable(target: string): boolean {
  try {
    parseTarget(target);
    return false;
  } catch {
    return true;
  }
}

/** What the policy was shown, or the 400 of a request that it was not asked about. */
function shownTo(
  { address: host, strictPort: port }: GateEnvoy,
  { target: path, agent }: { readonly target: string; readonly agent: Agent },
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, path, agent, rejectUnauthorized: false, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', () => {
        if (response.statusCode === 400) resolve(400);
        else if (text.startsWith('[')) resolve(JSON.parse(text));
        else reject(new Error(`${path}: Envoy answered ${response.statusCode}: ${text}`));
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', reject).end();
  });
}

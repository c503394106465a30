import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openBackup } from '../../src/datastore/index.ts';
import { pemEncode, splitDer } from '../../src/pki/index.ts';
import { cliOf, type ServerCli } from '../../test/support/run-cli.ts';
import {
  connectWorkload,
  refusalOf,
  type AnswerStream,
  type WorkloadClient,
} from '../../test/support/workload-client.ts';
import { ORDERS_SPIFFE_ID } from './gate-checks.ts';
import { openTlsConnection } from './http.ts';
import { startLoad, countStatuses } from './load.ts';
import type { Mesh } from './mesh.ts';
import { CLERK_SPIFFE_ID, observerEntry, type ClientIdentity } from './observer.ts';
import type { Check, Outcome } from './table.ts';

type X509Answer = Awaited<ReturnType<ReturnType<WorkloadClient['x509Svids']>['next']>>;

/** Far more than it takes; SPIRE's agent asks its server every 5 s. */
const PUSHED_WITHIN_MS = 2000;
const REQUESTS_AROUND_ROTATION = 50;

/**
 * What an operator does to the running server. Commands run in this process: the time that Node takes to start would be
 * most of what is measured.
 */
export function issuingChecks(mesh: Mesh): readonly Check[] {
  const operator = cliOf({ folder: mesh.folder.dir });
  const logs = ['svidgate'];
  return [
    {
      name: 'entry created by the CLI: SVID on an open stream',
      expected: 'pushed at once',
      logs,
      run: async () => createdEntry(mesh, operator),
    },
    {
      name: 'X.509-SVID of the Workload API',
      expected: 'signed by the bundle beside it',
      logs,
      run: async () => x509Svid(mesh),
    },
    {
      name: 'JWT-SVID of the Workload API, and checked there',
      expected: 'valid; refused elsewhere, altered',
      logs,
      run: async () => jwtSvid(mesh),
    },
    {
      name: 'SPIFFE ID revoked, and undone, on one connection',
      expected: '200, then 403, then 200',
      logs: [...logs, 'orders'],
      run: async () => revocation(mesh, operator),
    },
  ];
}

/** The next CA is published, acknowledged by all Envoys, and signs, while requests flow. */
export function authorityCheck(mesh: Mesh): Check {
  return {
    name: 'CA rotated by the CLI under continuous load',
    expected: 'acknowledged, 0 failed requests',
    logs: ['svidgate', 'gateway', 'web', 'orders'],
    run: async () => authorityRotation(mesh, cliOf({ folder: mesh.folder.dir })),
  };
}

/** What was set up by the CLI is still there after svidgate was stopped and killed; then it goes. */
export function keptStateChecks(mesh: Mesh): readonly Check[] {
  const operator = cliOf({ folder: mesh.folder.dir });
  const logs = ['svidgate'];
  return [
    {
      name: 'backup of the running server',
      expected: 'opens with its passphrase',
      logs,
      run: async () => backup(mesh, operator),
    },
    {
      name: 'entry of the CLI, after a stop and a kill',
      expected: 'still there; deleted: SVID gone',
      logs,
      run: async () => deletedEntry(mesh, operator),
    },
  ];
}

async function createdEntry(mesh: Mesh, operator: ServerCli): Promise<Outcome> {
  return withAnswers(mesh, async (answers) => {
    const before = await answers.next();
    await operator.text('entry', 'list'); // loads the CLI, which is not what is measured
    const selectors = observerEntry().selectors.flatMap((selector) => ['--selector', selector]);
    const begin = performance.now();
    await operator.text('entry', 'create', '--spiffe-id', CLERK_SPIFFE_ID, ...selectors, '--x509-svid-ttl', '10m');
    await answerThat(answers, (answer) => clerkIn(answer) !== undefined);
    const took = performance.now() - begin;
    const seen = `${Math.round(took)} ms from the command to the SVID`;
    return { passed: clerkIn(before) === undefined && took < PUSHED_WITHIN_MS, seen };
  });
}

async function x509Svid(mesh: Mesh): Promise<Outcome> {
  const { certificateChain, trustBundle } = await fetchClerk(mesh);
  const leaf = new X509Certificate(certificateChain);
  const root = new X509Certificate(trustBundle);
  const seen = `${leaf.subjectAltName?.replace('URI:', '')}, ends ${leaf.validToDate.toISOString()}`;
  return { passed: leaf.verify(root.publicKey) && leaf.subjectAltName === `URI:${CLERK_SPIFFE_ID}`, seen };
}

async function jwtSvid(mesh: Mesh): Promise<Outcome> {
  using client = connectWorkload(`unix:${mesh.workloadSocket}`);
  const { svids } = await client.jwtSvids({ audience: ['orders'], spiffeId: CLERK_SPIFFE_ID });
  const token = svids[0]?.svid ?? '';
  const { spiffeId } = await client.validate({ audience: 'orders', svid: token });
  const [elsewhere] = await refusalOf(client.validate({ audience: 'invoices', svid: token }));
  const [altered] = await refusalOf(client.validate({ audience: 'orders', svid: altering(token) }));
  const [, payload = ''] = token.split('.');
  const { iat, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Readonly<Record<string, number>>;
  const refused = [elsewhere, altered].every((status) => status === 'INVALID_ARGUMENT');
  return {
    passed: svids.length === 1 && spiffeId === CLERK_SPIFFE_ID && refused,
    seen: `valid for ${(exp ?? 0) - (iat ?? 0)} s; another audience ${elsewhere}, altered ${altered}`,
  };
}

/** The same token with another subject, under the signature it has. */
function altering(token: string): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const claims = Buffer.from(payload, 'base64url').toString().replace(CLERK_SPIFFE_ID, ORDERS_SPIFFE_ID);
  return [header, Buffer.from(claims).toString('base64url'), signature].join('.');
}

async function revocation(mesh: Mesh, operator: ServerCli): Promise<Outcome> {
  const client = { ...(await fetchClerk(mesh)), serverSpiffeId: ORDERS_SPIFFE_ID };
  using connection = openTlsConnection(mesh.orders, client);
  const ask = async () => connection.ask({ path: '/orders/7', headers: mesh.headers });
  const first = await ask();
  const begin = performance.now();
  const revoked = await operator.json('svid', 'revoke', '--spiffe-id', CLERK_SPIFFE_ID);
  const second = await ask();
  const took = Math.round(performance.now() - begin);
  await operator.text('svid', 'unrevoke', (revoked as { readonly revocation_id: string }).revocation_id);
  const third = await ask();
  const statuses = [first, second, third].map(({ status }) => status).join();
  const isOneConnection = !first.isReused && second.isReused && third.isReused;
  return {
    passed: statuses === '200,403,200' && isOneConnection,
    seen: `${statuses}; denied ${took} ms after the command${isOneConnection ? '' : ', on another connection'}`,
  };
}

interface ShownAuthority {
  readonly authority_id: string;
  readonly kind: string;
  readonly state: string;
  readonly waiting_for: readonly string[];
}

async function authorityRotation(mesh: Mesh, operator: ServerCli): Promise<Outcome> {
  const load = startLoad({
    endpoint: mesh.gateway,
    call: { path: '/shop/7', headers: mesh.headers },
    workers: 4,
    pauseMs: 10,
  });
  try {
    await load.reaches(REQUESTS_AROUND_ROTATION);
    const prepared = (await authorities(operator, 'prepare', 'x509')).find(({ state }) => state === 'prepared');
    const begin = performance.now();
    const after = await authorities(operator, 'activate', 'x509', prepared?.authority_id ?? '');
    const took = ((performance.now() - begin) / 1000).toFixed(2);
    await load.reaches(load.samples.length + REQUESTS_AROUND_ROTATION);
    await load.stop();
    const states = after.map(({ state }) => state).join(', ');
    const isActive = after.some(({ authority_id: id, state }) => id === prepared?.authority_id && state === 'active');
    const failed = load.samples.filter(({ status }) => status !== 200);
    const unheard = after.flatMap(({ waiting_for: names }) => names);
    const silent = mesh.svidgate.child?.log().includes('envoys did not acknowledge') ?? true;
    return {
      passed: isActive && !silent && unheard.length === 0 && failed.length === 0,
      seen: `${states} after ${took} s; ${load.samples.length} requests, ${failed.length} failed${failed.length > 0 ? ` (${countStatuses(failed)})` : ''}`,
    };
  } finally {
    await load.stop();
  }
}

async function authorities(operator: ServerCli, ...args: readonly string[]): Promise<readonly ShownAuthority[]> {
  const shown = (await operator.json('authority', ...args)) as { readonly authorities: readonly ShownAuthority[] };
  return shown.authorities.filter(({ kind }) => kind === 'x509');
}

async function backup(mesh: Mesh, operator: ServerCli): Promise<Outcome> {
  const { dir } = mesh.folder;
  const file = join(dir, 'state.backup');
  await operator.text('backup', '--out', file, '--passphrase-file', mesh.passphraseFile);
  const bytes = await readFile(file);
  const { keys, trustDomain } = await openBackup(bytes, mesh.sent.passphrase);
  const mode = ((await stat(file)).mode & 0o777).toString(8);
  return {
    passed: keys.length > 0 && trustDomain === 'mesh.test' && mode === '600',
    seen: `${(bytes.length / 1024).toFixed(1)} kB, mode 0${mode}, ${keys.length} keys in it`,
  };
}

async function deletedEntry(mesh: Mesh, operator: ServerCli): Promise<Outcome> {
  const { entries } = (await operator.json('entry', 'list', '--source', 'api')) as {
    readonly entries: readonly { readonly entry_id: string; readonly spiffe_id: string }[];
  };
  const clerk = entries.find(({ spiffe_id: id }) => id === CLERK_SPIFFE_ID);
  if (clerk === undefined) return { passed: false, seen: 'the entry is gone' };
  return withAnswers(mesh, async (answers) => {
    const before = await answers.next();
    const begin = performance.now();
    await operator.text('entry', 'delete', clerk.entry_id);
    await answerThat(answers, (answer) => clerkIn(answer) === undefined);
    const seen = `there; gone ${Math.round(performance.now() - begin)} ms after the command`;
    return { passed: clerkIn(before) !== undefined, seen };
  });
}

async function fetchClerk(mesh: Mesh): Promise<ClientIdentity> {
  return withAnswers(mesh, async (answers) => {
    const clerk = clerkIn(await answers.next());
    if (clerk === undefined) throw new Error('the Workload API gave no SVID of clerk');
    return {
      certificateChain: pems(clerk.x509Svid),
      privateKey: pemEncode('PRIVATE KEY', clerk.x509SvidKey),
      trustBundle: pems(clerk.bundle),
      spiffeId: clerk.spiffeId,
    };
  });
}

function pems(der: Uint8Array): string {
  return splitDer(der)
    .map((certificate) => pemEncode('CERTIFICATE', certificate))
    .join('');
}

function clerkIn(answer: X509Answer): X509Answer['svids'][number] | undefined {
  return answer.svids.find(({ spiffeId }) => spiffeId === CLERK_SPIFFE_ID);
}

async function withAnswers<T>(mesh: Mesh, work: (answers: AnswerStream<X509Answer>) => Promise<T>): Promise<T> {
  using client = connectWorkload(`unix:${mesh.workloadSocket}`);
  const answers = client.x509Svids();
  try {
    return await work(answers);
  } finally {
    answers.cancel();
  }
}

async function answerThat(
  answers: AnswerStream<X509Answer>,
  isWanted: (answer: X509Answer) => boolean,
): Promise<X509Answer> {
  for (;;) {
    const answer = await answers.next();
    if (isWanted(answer)) return answer;
  }
}

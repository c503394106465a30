import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitUntil } from '../../test/support/wait-until.ts';
import type { Envoy } from '../../test/support/envoy.ts';
import { callOverTls, type Answer, type Endpoint, type TlsClient } from './http.ts';
import { forgeIdentity } from './impostor.ts';
import type { Mesh } from './mesh.ts';
import { fetchOwnIdentity, OBSERVER_SPIFFE_ID } from './observer.ts';
import type { Check, Outcome } from './table.ts';

export const WEB_SPIFFE_ID = 'spiffe://mesh.test/web';
export const ORDERS_SPIFFE_ID = 'spiffe://mesh.test/orders';
export const GATEWAY_SPIFFE_ID = 'spiffe://mesh.test/gateway';

const IN_FORCE_WITHIN_MS = 15_000;

/** What the policy allows and denies to whom. */
export function gateChecks(mesh: Mesh): readonly Check[] {
  const { web, orders } = mesh.envoys;
  return [
    {
      name: 'GET /shop/7: gateway to web to orders',
      expected: '200 with the order',
      logs: ['svidgate', 'web', 'orders', 'web-service'],
      run: async () => {
        const answer = await mesh.ask('/shop/7');
        return { passed: answer.status === 200 && answer.body.includes('teapot'), seen: describe(answer) };
      },
    },
    {
      name: 'a method that no rule lists: DELETE /shop/7',
      expected: '403, denied by decision',
      logs: ['svidgate', 'web'],
      run: async () => deniedByDecision(web, async () => mesh.ask('/shop/7', 'DELETE')),
    },
    {
      name: 'a path that no rule lists: GET /admin',
      expected: '403, denied by decision',
      logs: ['svidgate', 'web'],
      run: async () => deniedByDecision(web, async () => mesh.ask('/admin')),
    },
    {
      name: 'an encoded slash: GET /shop/..%2fadmin',
      expected: '400, before any decision',
      logs: ['gateway'],
      run: async () => {
        const answer = await mesh.ask('/shop/..%2fadmin');
        return { passed: answer.status === 400, seen: describe(answer) };
      },
    },
    {
      name: 'gateway asks orders, which only web may',
      expected: '403, denied by decision',
      logs: ['svidgate', 'orders'],
      run: async () => deniedByDecision(orders, async () => mesh.ask('/debug/orders/7')),
    },
    {
      name: 'observer, a genuine SVID, says it is web in XFCC',
      expected: '403, denied by decision',
      logs: ['svidgate', 'orders'],
      run: async () => {
        const observer = await fetchOwnIdentity(mesh.workloadSocket);
        if (observer.spiffeId !== OBSERVER_SPIFFE_ID) return { passed: false, seen: `SDS gave ${observer.spiffeId}` };
        const headers = { ...mesh.headers, 'x-forwarded-client-cert': `URI=${WEB_SPIFFE_ID}` };
        const client = { ...observer, serverSpiffeId: ORDERS_SPIFFE_ID };
        return deniedByDecision(orders, async () => callOverTls(mesh.orders, client, { path: '/orders/7', headers }));
      },
    },
  ];
}

/** Who does not even get through the handshake. */
export function handshakeChecks(mesh: Mesh): readonly Check[] {
  const target = { envoy: mesh.envoys.web, endpoint: mesh.web };
  return [
    {
      name: 'no client certificate',
      expected: 'the handshake fails',
      logs: ['web'],
      run: async () => {
        const { trustBundle } = await fetchOwnIdentity(mesh.workloadSocket);
        return refusedHandshake(target, { trustBundle, serverSpiffeId: WEB_SPIFFE_ID }, mesh);
      },
    },
    {
      name: "another CA's certificate with gateway's SPIFFE ID",
      expected: 'the handshake fails',
      logs: ['web'],
      run: async () => {
        const { trustBundle } = await fetchOwnIdentity(mesh.workloadSocket);
        const forged = await forgeIdentity(GATEWAY_SPIFFE_ID, trustBundle);
        return refusedHandshake(target, { ...forged, serverSpiffeId: WEB_SPIFFE_ID }, mesh);
      },
    },
  ];
}

/** Policies change while requests flow. */
export function policyChecks(mesh: Mesh): readonly Check[] {
  const report = '/reports/daily';
  const rule = { from: [GATEWAY_SPIFFE_ID], to: [WEB_SPIFFE_ID], methods: ['GET'], paths: [report] };
  const logs = ['svidgate', 'web'];
  return [
    {
      name: `policy edited: GET ${report} is now allowed`,
      expected: '403, then 200 by itself',
      logs,
      run: async () => {
        const before = await mesh.ask(report);
        const seconds = await secondsUntil(mesh, { path: report, status: 200 }, async () =>
          mesh.folder.writeRules((rules) => [...rules, rule]),
        );
        return { passed: before.status === 403, seen: `${before.status}, then 200, in force after ${seconds} s` };
      },
    },
    {
      name: 'policy edited back',
      expected: '403 again',
      logs,
      run: async () => {
        const seconds = await secondsUntil(mesh, { path: report, status: 403 }, async () =>
          mesh.folder.writeRules((rules) => rules.filter(({ paths }) => !paths.includes(report))),
        );
        return { passed: true, seen: `403, in force after ${seconds} s` };
      },
    },
    {
      name: 'policy that does not compile',
      expected: 'the last good one decides',
      logs,
      run: async () => brokenPolicy(mesh),
    },
  ];
}

/** Changes something and waits for what it does to GET `path`. Seconds with two digits. */
export async function secondsUntil(
  mesh: Mesh,
  goal: { readonly path: string; readonly status: number },
  change: () => Promise<void>,
): Promise<string> {
  const begin = performance.now();
  await change();
  await waitUntil(`${goal.status} at ${goal.path}`, IN_FORCE_WITHIN_MS, async () => {
    const { status } = await mesh.ask(goal.path);
    return status === goal.status;
  });
  return ((performance.now() - begin) / 1000).toFixed(2);
}

async function brokenPolicy(mesh: Mesh): Promise<Outcome> {
  const file = join(mesh.folder.dir, 'policy/broken.rego');
  const before = mesh.svidgate.child?.log().length ?? 0;
  try {
    await writeFile(file, 'package envoy.authz\n\nallow if {\n');
    await waitUntil('svidgate to refuse the policy', IN_FORCE_WITHIN_MS, () =>
      mesh.svidgate.child?.log().slice(before).includes('broken.rego'),
    );
    const allowed = await mesh.ask('/shop/7');
    const denied = await mesh.ask('/admin');
    const seen = `refused in the log; /shop/7 ${allowed.status}, /admin ${denied.status}`;
    return { passed: allowed.status === 200 && denied.status === 403, seen };
  } finally {
    await rm(file, { force: true });
  }
}

/** A deny that svidgate gave, rather than one that Envoy made up because there was no answer: Envoy counts them apart. */
async function deniedByDecision(envoy: Envoy, ask: () => Promise<Answer>): Promise<Outcome> {
  const denials = async (): Promise<number> => (await envoy.stat('http.inbound.ext_authz.denied')) ?? 0;
  const before = await denials();
  const answer = await ask();
  const decided = (await denials()) - before;
  return { passed: answer.status === 403 && decided === 1, seen: `${describe(answer)}, decisions denied: ${decided}` };
}

async function refusedHandshake(
  target: { readonly envoy: Envoy; readonly endpoint: Endpoint },
  client: TlsClient,
  mesh: Mesh,
): Promise<Outcome> {
  const failures = async (): Promise<number> =>
    target.envoy
      .admin('/stats?format=json&filter=listener.*.ssl.(fail_verify|connection_error)')
      .then((body) => JSON.parse(body) as { readonly stats: readonly { readonly value?: number }[] })
      .then(({ stats }) => stats.reduce((sum, { value = 0 }) => sum + value, 0));
  const before = await failures();
  try {
    const answer = await callOverTls(target.endpoint, client, { path: '/shop/7', headers: mesh.headers });
    return { passed: false, seen: describe(answer) };
  } catch (error) {
    const { code = 'no code', message } = error as NodeJS.ErrnoException;
    await waitUntil('Envoy to count the failure', 5000, async () => (await failures()) > before);
    return { passed: /ALERT|ECONNRESET/.test(code), seen: code === 'no code' ? message : code };
  }
}

function describe({ status, body }: Answer): string {
  return `${status} ${body.trim().slice(0, 60)}`.trimEnd();
}

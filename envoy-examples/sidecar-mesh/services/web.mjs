/**
 * The shop's pages. Knows nothing of SPIFFE, TLS or policies: it listens on loopback, and calls orders through a
 * loopback port of its sidecar.
 *
 *   node web.mjs 127.0.0.1:3001 http://127.0.0.1:8081
 */
import { createServer } from 'node:http';

const [listen, ordersUrl] = process.argv.slice(2);
if (!listen || !ordersUrl) {
  console.error('usage: node web.mjs HOST:PORT ORDERS_URL');
  process.exit(2);
}
const [host, port] = listen.split(':');

/** @returns {Promise<{ status: number, body: unknown }>} */
async function answer(method, path) {
  if (path === '/healthz') return { status: 200, body: { service: 'web', healthy: true } };
  if (path === '/reports/daily') return { status: 200, body: { service: 'web', orders_today: 3 } };
  const order = /^\/shop\/([0-9]+)$/.exec(path)?.[1];
  if (order === undefined) return { status: 404, body: { service: 'web', error: 'no such page' } };
  if (method !== 'GET') return { status: 405, body: { service: 'web', error: 'read only' } };
  const response = await fetch(`${ordersUrl}/orders/${order}`, { signal: AbortSignal.timeout(10_000) });
  const text = await response.text();
  // What orders says of an order is our answer too: not there, not allowed, not now.
  if (!response.ok) return { status: response.status, body: { service: 'web', error: 'orders gave no order' } };
  return { status: 200, body: { service: 'web', order: JSON.parse(text) } };
}

const server = createServer((request, response) => {
  const path = new URL(request.url ?? '/', 'http://web').pathname;
  answer(request.method, path)
    .catch((error) => ({ status: 502, body: { service: 'web', error: String(error.cause?.code ?? error.name) } }))
    .then(({ status, body }) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(body)}\n`);
    });
});
// Longer than the sidecar keeps idle connections, so that no request meets a connection that is being closed.
server.keepAliveTimeout = 90_000;
server.listen(Number(port), host, () => console.log(`web listens on ${listen}`));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});

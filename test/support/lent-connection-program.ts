/**
 * A program in two processes that share one connection to a Unix socket. The owner connects and lends the descriptor to
 * a borrower, which speaks gRPC on it. The owner can end, or become another program, while the borrower goes on.
 *
 *   own SOCKET   the owner; commands on standard input: `exit`, `become`
 *   borrow       the borrower, started by the owner; commands on descriptor 4, answers on descriptor 5
 */
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';

const SERVICE = '/envoy.service.secret.v3.SecretDiscoveryService';
const [role, path] = process.argv.slice(2);

if (role === 'own') own(path ?? '');
else borrow();

function own(socketPath: string): void {
  const socket = new Socket();
  socket.pause(); // what comes is the borrower's to read
  socket.connect(socketPath, () => {
    const args = [import.meta.filename, 'borrow'];
    spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', socket, 4, 5], detached: true });
  });
  createInterface({ input: process.stdin }).on('line', (command) => {
    if (command === 'exit') process.exit(0);
    if (command === 'become') process.execve?.('/bin/sleep', ['sleep', '60'], {});
  });
}

type Answer = (value: object) => void;

function borrow(): void {
  const session = connectHttp2('http://svidgate', { createConnection: () => new Socket({ fd: 3 }) });
  session.on('error', () => undefined);
  const answer: Answer = (value) => void writeSync(5, `${JSON.stringify(value)}\n`);
  const commands = createInterface({ input: new Socket({ fd: 4 }) });
  commands.on('line', (method) => call(session, method, answer));
  commands.on('close', () => process.exit(0));
  answer({ kind: 'ready' });
}

function call(session: ClientHttp2Session, method: string, answer: Answer): void {
  if (session.closed || session.destroyed) return answer({ kind: 'ended', method, status: 'closed', bytes: 0 });
  const headers = {
    ':method': 'POST',
    ':path': `${SERVICE}/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  const stream = session.request(headers);
  let bytes = 0;
  let status = 'none';
  const read = (trailers: IncomingHttpHeaders): void => {
    status = String(trailers['grpc-status'] ?? status);
  };
  stream.on('response', read).on('trailers', read);
  stream.on('error', () => undefined);
  stream.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (method === 'StreamSecrets') answer({ kind: 'received', method, bytes: piece.length });
  });
  stream.on('end', () => stream.end()); // the server's end alone does not close it
  stream.on('close', () => answer({ kind: 'ended', method, status, bytes }));
  stream.write(Buffer.alloc(5)); // an empty DiscoveryRequest: all secrets
  if (method === 'FetchSecrets') stream.end();
}

// Sends a line over mTLS, and prints what comes back: node client.mjs HOST PORT SVID TEXT
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

const [host, port, svid, text] = process.argv.slice(2);
const socket = connect({
  host,
  port: Number(port),
  cert: readFileSync(`certs/svid.${svid}.pem`),
  key: readFileSync(`certs/svid.${svid}.key`),
  ca: readFileSync('certs/bundle.0.pem'),
  servername: 'ledger.mesh.test',
});
let answer = '';
socket.on('data', (piece) => {
  answer += piece;
  if (answer.endsWith('\n')) socket.end();
});
socket.on('error', () => undefined);
socket.on('close', () => process.stdout.write(answer === '' ? 'closed\n' : answer));
socket.write(`${text}\n`);

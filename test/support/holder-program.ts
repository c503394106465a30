/**
 * holder-program SOCKET: holds the X.509-SVIDs that the Workload API gives it. Prints the serial of the first each time
 * they come. Closes its stream on a line of standard input, and lives on.
 */
import { createInterface } from 'node:readline';
import { parseCertificate, splitDer } from '../../src/pki/index.ts';
import { connectWorkload } from './workload-client.ts';

const client = connectWorkload(`unix:${process.argv[2] ?? ''}`);
const stream = client.x509Svids();
createInterface({ input: process.stdin }).on('line', () => {
  stream.cancel();
  client[Symbol.dispose]();
  console.log('closed');
});
try {
  for (;;) {
    const [svid] = (await stream.next()).svids;
    const [leaf = new Uint8Array()] = splitDer(svid?.x509Svid ?? new Uint8Array());
    console.log(parseCertificate(leaf).serial);
  }
} catch {
  // It was closed.
}

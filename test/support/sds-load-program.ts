/**
 * sds-load-program SOCKET KIND COUNT: puts load on SDS until its standard input ends. It prints `ready` as soon as the
 * load is there, and at its end, as JSON, how many answers came and how streams ended.
 * - `hold`: COUNT connections that act as an Envoy does, with a stream for each of three names.
 * - `stuck`: COUNT connections with a stream that asks for everything and never reads.
 * - `flood`: COUNT connections with a stream of requests that never pauses, opened anew whenever it is ended; the load is there
 *   when that has happened for the first time.
 */
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { connect, type SecretStream } from './grpc-client.ts';

const [socket = '', kind = '', count = '1'] = process.argv.slice(2);
const NAMES = ['default', 'ROOTCA', 'spiffe://example.test'];
const PAGE = 100;

let answers = 0;
const ends: Record<string, number> = {};
const closing = new AbortController();
const firstEnd = Promise.withResolvers<undefined>();

const clients = Array.from({ length: Number(count) }, () => connect(`unix:${socket}`));

async function countEnd(stream: SecretStream): Promise<void> {
  const { code } = await stream.ended;
  const name = status[code];
  if (!closing.signal.aborted) ends[name] = (ends[name] ?? 0) + 1;
  firstEnd.resolve(undefined);
}

function hold(): Promise<unknown> {
  const firsts = clients.flatMap((client) =>
    NAMES.map(async (name) => {
      const stream = client.streamSecrets();
      void countEnd(stream);
      stream.send({ resourceNames: [name] });
      const take = async (): Promise<void> => {
        stream.ack(await stream.next(), [name]);
        answers += 1;
      };
      await take();
      void (async () => {
        for (;;) await take();
      })().catch(() => undefined); // its end is counted
    }),
  );
  return Promise.all(firsts);
}

function stick(): void {
  for (const client of clients) {
    const stream = client.streamSecrets();
    void countEnd(stream);
    stream.pause();
    stream.send({ resourceNames: [] });
  }
}

/** Each request changes what is asked for, so that none is a mere acknowledgement. */
async function flood(client: (typeof clients)[number]): Promise<void> {
  while (!closing.signal.aborted) {
    const stream = client.streamSecrets();
    void countEnd(stream);
    const over = new AbortController();
    void stream.ended.then(() => over.abort());
    for (let sent = 0; !over.signal.aborted && !closing.signal.aborted; sent += 1) {
      stream.send({ resourceNames: NAMES.slice(0, 1 + (sent % NAMES.length)) });
      if (sent % PAGE === 0) await setImmediate();
    }
    if (!over.signal.aborted) stream.cancel();
  }
}

if (kind === 'hold') await hold();
else if (kind === 'stuck') stick();
else {
  for (const client of clients) void flood(client);
  await firstEnd.promise;
}
console.log('ready');
process.stdin.resume();
await once(process.stdin, 'end');
closing.abort();
process.stdout.write(JSON.stringify({ answers, ends }), () => process.exit(0));

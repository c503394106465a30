import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decodeMessage, encodeCall, messageLength } from '../../../src/attestation/dbus-message.ts';
import { createSystemdAttestor } from '../../../src/attestation/index.ts';
import { dbusMessage, startFakeBus, textBody, type FakeBusOptions } from '../../support/fake-systemd.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { never, processOf } from '../../support/own-peer.ts';

const UNITS = new Map([
  [100, { id: 'nginx.service', fragmentPath: '/usr/lib/systemd/system/nginx.service' }],
  [200, { id: 'run-u1.scope', fragmentPath: '' }],
  [300, { id: 'ünit\u{1f980}.service', fragmentPath: '/etc/systemd/system/ünit.service' }],
]);

async function withBus<T>(options: Omit<FakeBusOptions, 'socket'>, use: (socket: string) => Promise<T>): Promise<T> {
  await using folder = await tempFolder();
  const socket = join(folder.path, 'bus');
  await using bus = await startFakeBus({ units: UNITS, ...options, socket });
  return await use(bus.socket);
}

test('a call has the bytes that the specification demands', () => {
  const call = encodeCall({
    serial: 1,
    destination: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member: 'Hello',
    body: [],
  });
  const expected = dbusMessage({
    kind: 1,
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member: 'Hello',
    destination: 'org.freedesktop.DBus',
  });
  assert.equal(call.toString('hex'), expected.toString('hex'));
  // The first bytes of every D-Bus session, from the fixed header to the object path.
  assert.equal(
    call.toString('hex', 0, 48),
    '6c01000100000000010000006d00000001016f00150000002f6f72672f667265656465736b746f702f44427573000000',
  );
  const withNumber = encodeCall({
    serial: 2,
    destination: 'a.b',
    path: '/',
    interface: 'c.d',
    member: 'E',
    body: [{ type: 'u', value: 0x01020304 }],
  });
  assert.equal(messageLength(withNumber), withNumber.length);
  assert.equal(withNumber.toString('hex', withNumber.length - 4), '04030201');
});

test('answers are read in both byte orders', () => {
  for (const order of ['l', 'B'] as const) {
    const cases: readonly (readonly [message: Buffer, expected: object])[] = [
      [
        dbusMessage({ kind: 2, order, replySerial: 7, signature: 's', body: textBody('text', { order }) }),
        { kind: 'return', replySerial: 7, errorName: undefined, text: 'text' },
      ],
      [
        dbusMessage({ kind: 2, order, replySerial: 7, signature: 'v', body: textBody('/o', { order, variant: 'o' }) }),
        { kind: 'return', replySerial: 7, errorName: undefined, text: '/o' },
      ],
      [
        dbusMessage({ kind: 3, order, replySerial: 8, errorName: 'a.B' }),
        { kind: 'error', replySerial: 8, errorName: 'a.B', text: undefined },
      ],
      [
        dbusMessage({ kind: 4, order, path: '/', interface: 'a.b', member: 'S' }),
        { kind: 'signal', replySerial: undefined, errorName: undefined, text: undefined },
      ],
      [
        dbusMessage({ kind: 2, order, replySerial: 9, signature: 'as', body: Buffer.alloc(4) }),
        { kind: 'return', replySerial: 9, errorName: undefined, text: undefined },
      ],
    ];
    for (const [message, expected] of cases) {
      assert.equal(messageLength(message), message.length);
      assert.deepEqual(decodeMessage(message), expected);
    }
  }
});

test('any bytes are a message or an error, and never anything worse', () => {
  const genuine = dbusMessage({ kind: 2, replySerial: 7, signature: 'v', body: textBody('text', { variant: 's' }) });
  const broken = fc
    .array(fc.tuple(fc.nat(genuine.length - 1), fc.nat(255)), { maxLength: 4 })
    .map((changes) =>
      changes.reduce(
        (bytes, [at, value]) => Buffer.concat([bytes.subarray(0, at), Buffer.from([value]), bytes.subarray(at + 1)]),
        genuine,
      ),
    );
  const bytes = fc.oneof(
    broken,
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
  );
  fc.assert(
    fc.property(bytes, (message) => {
      for (const read of [messageLength, decodeMessage]) {
        try {
          read(message);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }
    }),
    { numRuns: 3000 },
  );
});

test('unit and fragment path are those that systemd gives for the pid', async () => {
  await withBus({}, async (socket) => {
    const attestor = createSystemdAttestor({ busSocket: socket });
    assert.deepEqual(await attestor.attest(processOf(100), never), [
      'id:nginx.service',
      'fragment_path:/usr/lib/systemd/system/nginx.service',
    ]);
    assert.deepEqual(await attestor.attest(processOf(200), never), ['id:run-u1.scope']);
    assert.deepEqual(await attestor.attest(processOf(300), never), [
      'id:ünit\u{1f980}.service',
      'fragment_path:/etc/systemd/system/ünit.service',
    ]);
  });
});

test('a process in no unit, or without a pid, has no selectors', async () => {
  await withBus({}, async (socket) => {
    const attestor = createSystemdAttestor({ busSocket: socket });
    assert.deepEqual(await attestor.attest(processOf(1), never), []);
    assert.deepEqual(await attestor.attest(processOf(0), never), []);
  });
});

test('many callers at once are all answered, with few connections at a time', async () => {
  await using folder = await tempFolder();
  const socket = join(folder.path, 'bus');
  await using bus = await startFakeBus({ socket, units: UNITS });
  const attestor = createSystemdAttestor({ busSocket: socket });
  const all = await Promise.all(Array.from({ length: 100 }, () => attestor.attest(processOf(100), never)));
  assert.ok(all.every(([id]) => id === 'id:nginx.service'));
  assert.equal(bus.connections, 100);
});

test('a bus that refuses, breaks the protocol or leaves fails the attestor at once', async () => {
  const cases: readonly (readonly [name: string, options: Omit<FakeBusOptions, 'socket'>, reason: RegExp])[] = [
    ['refused', { onLogin: (socket) => void socket.write('REJECTED EXTERNAL\r\n') }, /does not let us in/],
    ['no bus', { onLogin: (socket) => void socket.write('x'.repeat(5000)) }, /broke the protocol/],
    ['left before login', { onLogin: (socket) => void socket.destroy() }, /closed|ECONNRESET|EPIPE/],
    ['left during a call', { onCall: (_, socket) => (socket.destroy(), undefined) }, /closed|ECONNRESET|EPIPE/],
    ['other bytes', { onCall: () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }, /no D-Bus message/],
    [
      'huge',
      {
        onCall: ({ serial }) =>
          dbusMessage({ kind: 2, replySerial: serial, signature: 's', body: textBody('x'.repeat(70_000)) }),
      },
      /longer than/,
    ],
    [
      'denied',
      {
        onCall: ({ serial, member }) =>
          member === 'Hello'
            ? undefined
            : dbusMessage({
                kind: 3,
                replySerial: serial,
                errorName: 'org.freedesktop.DBus.Error.AccessDenied',
                signature: 's',
                body: textBody('secret'),
              }),
      },
      /D-Bus error org\.freedesktop\.DBus\.Error\.AccessDenied$/,
    ],
    [
      'an answer without a text',
      {
        onCall: ({ serial, member }) => (member === 'Get' ? dbusMessage({ kind: 2, replySerial: serial }) : undefined),
      },
      /holds no text/,
    ],
    [
      'no UTF-8',
      {
        onCall: ({ serial }) =>
          dbusMessage({ kind: 2, replySerial: serial, signature: 's', body: Buffer.from([1, 0, 0, 0, 0xff, 0]) }),
      },
      /encoded data|utf-8/i,
    ],
  ];
  for (const [name, options, reason] of cases) {
    await withBus(options, async (socket) => {
      await assert.rejects(createSystemdAttestor({ busSocket: socket }).attest(processOf(100), never), reason, name);
    });
  }
  await assert.rejects(createSystemdAttestor({ busSocket: '/absent/bus' }).attest(processOf(100), never), {
    code: 'ENOENT',
  });
});

test('a bus that is silent, at login or after a call, holds nobody longer than the signal', async () => {
  const silences: readonly Omit<FakeBusOptions, 'socket'>[] = [
    { onLogin: () => undefined },
    { onCall: ({ member }) => (member === 'GetUnitByPID' ? Buffer.alloc(0) : undefined) },
  ];
  for (const options of silences) {
    await withBus(options, async (socket) => {
      await assert.rejects(
        createSystemdAttestor({ busSocket: socket }).attest(processOf(100), AbortSignal.timeout(50)),
        { name: 'TimeoutError' },
      );
    });
  }
});

test('signals and answers to nobody are passed over, in whatever pieces they come', async () => {
  const noise = [
    dbusMessage({
      kind: 4,
      path: '/',
      interface: 'org.freedesktop.DBus',
      member: 'NameAcquired',
      signature: 's',
      body: textBody(':1.7'),
    }),
    dbusMessage({ kind: 2, replySerial: 4000, signature: 's', body: textBody('forged') }),
    dbusMessage({ kind: 1, path: '/', interface: 'org.freedesktop.DBus.Peer', member: 'Ping' }),
  ];
  const onCall: FakeBusOptions['onCall'] = (_call, socket) => {
    for (const byte of Buffer.concat(noise)) socket.write(Buffer.from([byte]));
    return undefined;
  };
  await withBus({ onCall }, async (socket) => {
    const values = await createSystemdAttestor({ busSocket: socket }).attest(processOf(100), never);
    assert.equal(values[0], 'id:nginx.service');
  });
});

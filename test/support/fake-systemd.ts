import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** A unit that the stand-in tells about. */
export interface FakeUnit {
  readonly id: string;
  readonly fragmentPath: string;
}

/** Bytes of one D-Bus message, written by hand after the specification and apart from the code under test. */
export function dbusMessage(message: {
  readonly kind: 1 | 2 | 3 | 4;
  readonly serial?: number;
  readonly replySerial?: number;
  readonly errorName?: string;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly destination?: string;
  readonly signature?: string;
  readonly body?: Buffer;
  readonly order?: 'l' | 'B';
}): Buffer {
  const { order = 'l', body = Buffer.alloc(0) } = message;
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    if (order === 'l') bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  };
  const pad = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  const text = (value: string): Buffer => Buffer.concat([number(Buffer.byteLength(value)), Buffer.from(`${value}\0`)]);
  const field = (code: number, type: string, value: Buffer): Buffer =>
    Buffer.concat([Buffer.from([code, 1, type.charCodeAt(0), 0]), value]);
  const fields = [
    message.path === undefined ? undefined : field(1, 'o', text(message.path)),
    message.interface === undefined ? undefined : field(2, 's', text(message.interface)),
    message.member === undefined ? undefined : field(3, 's', text(message.member)),
    message.errorName === undefined ? undefined : field(4, 's', text(message.errorName)),
    message.replySerial === undefined ? undefined : field(5, 'u', number(message.replySerial)),
    message.destination === undefined ? undefined : field(6, 's', text(message.destination)),
    message.signature === undefined
      ? undefined
      : field(8, 'g', Buffer.from([message.signature.length, ...Buffer.from(`${message.signature}\0`)])),
  ].filter((bytes) => bytes !== undefined);
  const array = fields.reduce((all, bytes) => Buffer.concat([pad(all), bytes]), Buffer.alloc(0));
  const fixed = Buffer.concat([
    Buffer.from([order.charCodeAt(0), message.kind, 0, 1]),
    number(body.length),
    number(message.serial ?? 1),
  ]);
  return Buffer.concat([pad(Buffer.concat([fixed, number(array.length), array])), body]);
}

/** A text, object path, or with `variant` a variant of it, as a body. */
export function textBody(
  value: string,
  { variant, order = 'l' }: { readonly variant?: 's' | 'o'; readonly order?: 'l' | 'B' } = {},
): Buffer {
  const length = Buffer.alloc(4);
  if (order === 'l') length.writeUInt32LE(Buffer.byteLength(value));
  else length.writeUInt32BE(Buffer.byteLength(value));
  const text = Buffer.concat([length, Buffer.from(`${value}\0`)]);
  return variant === undefined ? text : Buffer.concat([Buffer.from([1, variant.charCodeAt(0), 0, 0]), text]);
}

/** What the stand-in read of a call. */
export interface ReadCall {
  readonly serial: number;
  readonly member: string;
  readonly sender: string;
  /** Every text of the message, in its order: path, interface, member, destination, arguments. */
  readonly texts: readonly string[];
  readonly lastNumber: number;
}

/** Reads a call as far as the tests need: by its texts. */
export function readCall(bytes: Buffer): ReadCall {
  const arrayLength = bytes.readUInt32LE(12);
  const fields = new Map<number, string>();
  let at = 16;
  while (at < 16 + arrayLength) {
    at = Math.ceil(at / 8) * 8;
    const code = bytes.readUInt8(at);
    const type = String.fromCharCode(bytes.readUInt8(at + 2));
    at += 4;
    if (type === 'g') at += 2 + bytes.readUInt8(at);
    else if (type === 'u') at += 4;
    else {
      const length = bytes.readUInt32LE(at);
      fields.set(code, bytes.toString('utf8', at + 4, at + 4 + length));
      at += 5 + length;
    }
  }
  at = Math.ceil(at / 8) * 8;
  const body = bytes.subarray(at);
  const texts: string[] = [];
  for (let from = 0; from + 5 <= body.length && body.length > 4;) {
    const length = body.readUInt32LE(from);
    texts.push(body.toString('utf8', from + 4, from + 4 + length));
    from = Math.ceil((from + 5 + length) / 4) * 4;
  }
  return {
    serial: bytes.readUInt32LE(8),
    member: fields.get(3) ?? '',
    sender: fields.get(7) ?? '',
    texts: [...[1, 2, 3, 6].flatMap((code) => fields.get(code) ?? []), ...texts],
    lastNumber: body.length === 4 ? body.readUInt32LE(0) : 0,
  };
}

/** Splits what a peer sends into messages. */
export function messagesOf(onMessage: (bytes: Buffer) => void): (piece: Buffer) => void {
  let received = Buffer.alloc(0);
  return (piece) => {
    received = Buffer.concat([received, piece]);
    while (received.length >= 16) {
      const length = Math.ceil((16 + received.readUInt32LE(12)) / 8) * 8 + received.readUInt32LE(4);
      if (received.length < length) return;
      onMessage(received.subarray(0, length));
      received = received.subarray(length);
    }
  };
}

/** A bus that has only systemd on it. */
export interface FakeBus extends AsyncDisposable {
  readonly socket: string;
  readonly calls: ReadCall[];
  readonly connections: number;
}

export interface FakeBusOptions {
  readonly socket: string;
  readonly units?: ReadonlyMap<number, FakeUnit>;
  /** Instead of the usual lines of a bus. */
  readonly onLogin?: (socket: Socket, text: string) => void;
  /** Instead of the usual answer; undefined for that. */
  readonly onCall?: (call: ReadCall, socket: Socket) => Buffer | undefined;
}

export async function startFakeBus({
  socket: path,
  units = new Map(),
  onLogin,
  onCall,
}: FakeBusOptions): Promise<FakeBus> {
  const calls: ReadCall[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections += 1;
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => undefined);
    let isIn = false;
    let text = '';
    const read = messagesOf((bytes) => {
      const call = readCall(bytes);
      calls.push(call);
      const answer = onCall?.(call, socket) ?? answerOf(call, units);
      if (socket.writable) socket.write(answer);
    });
    socket.on('data', (piece: Buffer) => {
      if (isIn) return read(piece);
      text += piece.toString('latin1');
      const begin = text.indexOf('BEGIN\r\n');
      if (begin >= 0) {
        isIn = true;
        return read(Buffer.from(text.slice(begin + 7), 'latin1'));
      }
      if (onLogin !== undefined) return onLogin(socket, text);
      if (text === '\0AUTH EXTERNAL\r\nDATA\r\n') socket.write('DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n');
    });
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    socket: path,
    calls,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** What systemd answers to the three calls that are made of it. */
export function answerOf(call: ReadCall, units: ReadonlyMap<number, FakeUnit>, destination?: string): Buffer {
  const to = destination === undefined ? {} : { destination };
  const reply = { replySerial: call.serial, ...to };
  if (call.member === 'Hello') return dbusMessage({ kind: 2, ...reply, signature: 's', body: textBody(':1.7') });
  if (call.member === 'GetUnitByPID') {
    if (!units.has(call.lastNumber)) {
      const body = textBody(`PID ${call.lastNumber} does not belong to any loaded unit.`);
      return dbusMessage({
        kind: 3,
        ...reply,
        errorName: 'org.freedesktop.systemd1.NoUnitForPID',
        signature: 's',
        body,
      });
    }
    const body = textBody(`/org/freedesktop/systemd1/unit/u_${call.lastNumber}`);
    return dbusMessage({ kind: 2, ...reply, signature: 'o', body });
  }
  const unit = units.get(Number(call.texts[0]?.split('_').at(-1)));
  const value = call.texts.at(-1) === 'Id' ? unit?.id : unit?.fragmentPath;
  return dbusMessage({ kind: 2, ...reply, signature: 'v', body: textBody(value ?? '', { variant: 's' }) });
}

/** A service that answers as systemd on a real bus. */
export interface FakeSystemd extends AsyncDisposable {
  /** Who called it, by the bus's own names. */
  readonly senders: ReadonlySet<string>;
}

/** Takes systemd's name on the bus. Rejects when the bus does not give it. */
export async function startFakeSystemd(socketPath: string, units: ReadonlyMap<number, FakeUnit>): Promise<FakeSystemd> {
  const socket = createConnection(socketPath);
  const senders = new Set<string>();
  const isOwner = Promise.withResolvers<void>();
  const bus = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };
  const name = textBody('org.freedesktop.systemd1');
  const flags = Buffer.alloc(Math.ceil(name.length / 4) * 4 - name.length + 4);
  let serial = 2;
  const read = messagesOf((bytes) => {
    const isCall = bytes[1] === 1;
    if (bytes[1] === 3) isOwner.reject(new Error('the bus refused'));
    const message = readCall(bytes);
    // The answer to RequestName is 1: we own the name.
    if (bytes[1] === 2 && message.lastNumber === 1) isOwner.resolve();
    if (!isCall) return;
    senders.add(message.sender);
    serial += 1;
    const answer = answerOf(message, units, message.sender);
    answer.writeUInt32LE(serial, 8);
    socket.write(answer);
  });
  let login = '';
  socket.on('error', (error) => isOwner.reject(error));
  socket.on('data', (piece: Buffer) => {
    if (login.includes('OK ')) return read(piece);
    login += piece.toString('latin1');
    if (!login.includes('OK ')) return;
    socket.write('BEGIN\r\n');
    socket.write(dbusMessage({ kind: 1, serial: 1, ...bus, member: 'Hello' }));
    const body = Buffer.concat([name, flags]);
    socket.write(dbusMessage({ kind: 1, serial: 2, ...bus, member: 'RequestName', signature: 'su', body }));
  });
  const uid = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex');
  socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
  try {
    await isOwner.promise;
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    senders,
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await once(socket, 'close');
    },
  };
}

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { LOG_FIELD_NAMES, type LogFields } from '../../../src/core/index.ts';
import {
  createLogger,
  MAX_LIST_LENGTH,
  MAX_TEXT_LENGTH,
  REDACTED,
  type LogLevel,
} from '../../../src/telemetry/index.ts';

function capture(level: LogLevel = 'debug') {
  const lines: string[] = [];
  const logger = createLogger({ level, destination: { write: (line) => void lines.push(line) } });
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? 'null') as Record<string, unknown> };
}

describe('a log line', () => {
  it('is JSON with time, level, message and fields, and nothing else', () => {
    const { logger, lines, last } = capture();
    logger.warn({ policy: 'default', duration_ms: 3, resource_names: ['a', 'b'] }, 'policy refused');
    const { time, ...rest } = last();
    assert.deepEqual(rest, {
      level: 'warn',
      policy: 'default',
      duration_ms: 3,
      resource_names: ['a', 'b'],
      msg: 'policy refused',
    });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(lines[0] ?? '', /^[^\n]*\n$/);
  });

  it('is not written below the level', () => {
    const { logger, lines } = capture('warn');
    logger.debug({}, 'a');
    logger.info({}, 'b');
    logger.warn({}, 'c');
    logger.error({}, 'd');
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { msg: string }).msg),
      ['c', 'd'],
    );
  });

  it('carries the fields of its parents, and its own in their place', () => {
    const { logger, lines, last } = capture();
    const child = logger.child({ room: 'sds', policy: 'a' }).child({ policy: 'b' });
    child.info({ policy: 'c' }, 'x');
    assert.equal(last()['room'], 'sds');
    assert.equal(last()['policy'], 'c');
    assert.equal(lines[0]?.split('"policy"').length, 2);
    child.info({}, 'y');
    assert.equal(last()['policy'], 'b');
  });

  it('has no field that is not on the list, and no value that is not a text, a number or a list of texts', () => {
    const { logger, last } = capture();
    const unlisted = { authorization: 'x', private_key: 'x', err: new Error('x'), time: 'x', level: 'x', msg: 'x' };
    const wrong = { reason: { nested: 'x' }, file: undefined, count: null, selectors: ['a', 1, { b: 1 }] };
    const fields = { ...unlisted, ...wrong, policy: 'kept' } as unknown as LogFields;
    logger.child(fields).error(fields, 'm');
    const { time: _time, ...rest } = last();
    assert.deepEqual(rest, { level: 'error', selectors: ['a'], policy: 'kept', msg: 'm' });
  });

  it('cuts long texts and long lists', () => {
    const { logger, last } = capture();
    logger.info({ reason: 'r'.repeat(10_000), selectors: Array.from({ length: 1000 }, () => 's') }, 'm'.repeat(10_000));
    assert.equal(last()['reason'], `${'r'.repeat(MAX_TEXT_LENGTH)}…`);
    assert.equal(last()['msg'], `${'m'.repeat(MAX_TEXT_LENGTH)}…`);
    assert.deepEqual(last()['selectors'], [...Array.from({ length: MAX_LIST_LENGTH }, () => 's'), '… 968 more']);
  });

  it('is one line of JSON, whatever the texts are', () => {
    const { logger, lines } = capture();
    fc.assert(
      fc.property(fc.constantFrom(...LOG_FIELD_NAMES), fc.string({ unit: 'binary' }), (name, text) => {
        logger.info({ [name]: text }, text);
        const line = lines.at(-1) ?? '';
        assert.equal(line.indexOf('\n'), line.length - 1);
        JSON.parse(line);
      }),
    );
  });
});

describe('secrets in a log line', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const ec384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  const ed = generateKeyPairSync('ed25519').privateKey;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const unsigned = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ sub: 'spiffe://prod.acme.test/web' })}`;
  const jwt = `${unsigned}.${createHmac('sha256', 'k').update(unsigned).digest('base64url')}`;
  const pkcs8 = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'der' }).toString('base64');
  const pem = ec.export({ type: 'pkcs8', format: 'pem' }).toString();

  const SECRETS: readonly { readonly what: string; readonly secret: string }[] = [
    { what: 'a private key in PEM', secret: pem.trimEnd() },
    { what: 'a URL-encoded private key in PEM', secret: encodeURIComponent(pem.trimEnd()) },
    { what: 'a private key in PEM without its end', secret: pem.slice(0, 90) },
    { what: 'a P-256 key in base64 PKCS #8', secret: pkcs8(ec) },
    { what: 'a P-384 key in base64 PKCS #8', secret: pkcs8(ec384) },
    { what: 'an Ed25519 key in base64 PKCS #8', secret: pkcs8(ed) },
    { what: 'an RSA key in base64 PKCS #8', secret: pkcs8(rsa) },
    { what: 'an RSA key in base64 PKCS #1', secret: rsa.export({ type: 'pkcs1', format: 'der' }).toString('base64') },
    { what: 'a P-256 key in base64 SEC 1', secret: ec.export({ type: 'sec1', format: 'der' }).toString('base64') },
    { what: 'a P-384 key in base64 SEC 1', secret: ec384.export({ type: 'sec1', format: 'der' }).toString('base64') },
    { what: 'a JWT', secret: jwt },
    { what: 'an authorization header', secret: 'Bearer 0123456789abcdef' },
    { what: 'an authorization header in lower case', secret: `bearer ${jwt}` },
  ];
  for (const { what, secret } of SECRETS) {
    it(`${what} is replaced in the message, in fields, in lists and in a parent's fields`, () => {
      const { logger, lines, last } = capture();
      const text = `x ${secret}`;
      logger.child({ file: text }).info({ reason: text, selectors: [text] }, text);
      const line = lines[0] ?? '';
      for (const start of [0, 12, 40]) {
        const part = JSON.stringify(secret.slice(start, start + 24)).slice(1, -1);
        if (part.length >= 12) assert.equal(line.includes(part), false, part);
      }
      for (const name of ['msg', 'reason', 'file']) assert.match(String(last()[name]), /^x \[redacted\]…?$/);
      assert.deepEqual(last()['selectors'], [last()['msg']]);
    });
  }

  const HARMLESS = [
    'spiffe://prod.acme.test/orders',
    'unix:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    '/usr/bin/envoy',
    '4f8e1c9b2d',
    'policies/rego/authz.rego:12: rego_parse_error: unexpected eof token',
    'MISSING: MIME types',
  ];
  for (const text of HARMLESS) {
    it(`${text} is left alone`, () => {
      const { logger, last } = capture();
      logger.info({ reason: text }, text);
      assert.deepEqual([last()['reason'], last()['msg']], [text, text]);
      assert.equal(text.includes(REDACTED), false);
    });
  }
});

describe('the default destination', () => {
  it('has every line on standard output when the process kills itself right after, without generated code', () => {
    const index = fileURLToPath(import.meta.resolve('../../../src/telemetry/index.ts'));
    const program = `
      import { createLogger, createMetrics } from ${JSON.stringify(index)};
      await createMetrics().render();
      const logger = createLogger({ level: 'info' });
      for (let i = 0; i < 100; i += 1) logger.info({ count: i }, 'line');
      process.kill(process.pid, 'SIGKILL');`;
    const result = spawnSync(
      process.execPath,
      ['--disallow-code-generation-from-strings', '--input-type=module', '--eval', program],
      { encoding: 'utf8' },
    );
    assert.equal(result.signal, 'SIGKILL', result.stderr);
    assert.equal(result.stdout.trimEnd().split('\n').length, 100);
  });
});

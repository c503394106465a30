import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createStandardStreams, type StandardStreams } from '../../../src/policy/wasi-streams.ts';

const BADF = 8;
const RESULT = 1000;

/** Memory with one vector of two buffers, of 3 and 5 bytes, at 100 and 200. */
function attach(streams: StandardStreams): { readonly bytes: Uint8Array; readonly view: DataView } {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const view = new DataView(memory.buffer);
  [100, 3, 200, 5].forEach((word, i) => view.setUint32(i * 4, word, true));
  streams.attach(memory);
  return { bytes: new Uint8Array(memory.buffer), view };
}

const call = (streams: StandardStreams, name: string, descriptor: number): number | undefined =>
  streams.imports[name]?.(descriptor, 0, 2, RESULT);

describe('standard streams of a WASI program', () => {
  test('scatter the input over the buffers, and give 0 bytes at its end', () => {
    const streams = createStandardStreams(new TextEncoder().encode('abcdefghij'), 100);
    const { bytes, view } = attach(streams);
    assert.equal(call(streams, 'fd_read', 0), 0);
    assert.equal(view.getUint32(RESULT, true), 8);
    assert.equal(new TextDecoder().decode(bytes.slice(100, 103)), 'abc');
    assert.equal(new TextDecoder().decode(bytes.slice(200, 205)), 'defgh');
    for (const length of [2, 0]) {
      assert.equal(call(streams, 'fd_read', 0), 0);
      assert.equal(view.getUint32(RESULT, true), length);
    }
  });

  test('gather what is written, output and errors apart', () => {
    const streams = createStandardStreams(new Uint8Array(), 100);
    const { bytes, view } = attach(streams);
    bytes.set(new TextEncoder().encode('abc'), 100);
    bytes.set(new TextEncoder().encode('defgh'), 200);
    assert.equal(call(streams, 'fd_write', 1), 0);
    assert.equal(view.getUint32(RESULT, true), 8);
    bytes.fill(0x78, 100, 103);
    assert.equal(call(streams, 'fd_write', 2), 0);
    assert.equal(new TextDecoder().decode(streams.stdout()), 'abcdefgh', 'a copy, not the memory');
    assert.equal(streams.stderr(), 'xxxdefgh');
  });

  test('end the program that writes more than the limit', () => {
    const streams = createStandardStreams(new Uint8Array(), 10);
    attach(streams);
    assert.equal(call(streams, 'fd_write', 1), 0);
    assert.throws(() => call(streams, 'fd_write', 1), /the output is larger than 10 bytes/);
  });

  test('keep the beginning of a long standard error', () => {
    const streams = createStandardStreams(new Uint8Array(), 10);
    attach(streams);
    for (let i = 0; i < 10_000; i += 1) assert.equal(call(streams, 'fd_write', 2), 0);
    assert.equal(streams.stderr().length, 65_536);
  });

  test('know no other descriptor, and none before there is memory', () => {
    const streams = createStandardStreams(new Uint8Array(), 10);
    assert.equal(call(streams, 'fd_read', 0), BADF);
    attach(streams);
    for (const descriptor of [1, 2, 3, -1]) assert.equal(call(streams, 'fd_read', descriptor), BADF);
    for (const descriptor of [0, 3, 99]) assert.equal(call(streams, 'fd_write', descriptor), BADF);
  });
});

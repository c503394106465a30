import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeMessage, JwtSvidRequest, WORKLOAD_API_SERVICE } from '../../../../src/proto/index.ts';
import { connectRaw, frame, type RawAnswer } from '../../../support/raw-grpc.ts';
import { startTestWorkloadApi } from '../../../support/workload-api.ts';

const AUTHORITIES = ['localhost', '/run/api.sock', 'outbound|8080||x', 'a/b', 'unix:/x', 'a b', 'localhost'];

async function fetchWith(authorities: readonly string[], anyAuthority: boolean): Promise<readonly RawAnswer[]> {
  await using api = await startTestWorkloadApi({ anyAuthority });
  using raw = connectRaw(api.address);
  const body = [frame(encodeMessage(JwtSvidRequest, { audience: ['api'] }))];
  const answers: RawAnswer[] = [];
  for (const authority of authorities) {
    const headers = { ':authority': authority, 'workload.spiffe.io': 'true' };
    answers.push(await raw.call({ path: WORKLOAD_API_SERVICE.fetchJwtSvid.path, headers, body }));
  }
  return answers;
}

test('one connection with many authorities is served, and each call knows its caller', async () => {
  const answers = await fetchWith(AUTHORITIES, true);
  assert.deepEqual(
    answers.map(({ grpcStatus, message }) => [grpcStatus, (message?.length ?? 0) > 100]),
    AUTHORITIES.map(() => ['0', true]),
  );
});

test('a listener without it serves good authorities alone', async () => {
  const [answer] = await fetchWith(['localhost'], false);
  assert.equal(answer?.grpcStatus, '0');
  await assert.rejects(fetchWith(['outbound|8080||x'], false), /NGHTTP2_PROTOCOL_ERROR/);
});

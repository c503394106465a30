import assert from 'node:assert/strict';
import { test } from 'node:test';
import descriptors from 'protobufjs/ext/descriptor.js';
import { createReflectionEndpoint } from '../../../../src/endpoints/health/index.ts';
import {
  decodeMessage,
  encodeMessage,
  HEALTH_SERVICE,
  HealthCheckRequest,
  HealthCheckResponse,
  PROTO_FILES,
  REFLECTION_SERVICE,
  ServerReflectionRequest,
  ServerReflectionResponse,
} from '../../../../src/proto/index.ts';
import { connectRaw, frame } from '../../../support/raw-grpc.ts';
import { startTestWorkloadApi } from '../../../support/workload-api.ts';
import { connectWorkload, refusalOf } from '../../../support/workload-client.ts';

type Question = Parameters<(typeof ServerReflectionRequest)['encode']>[0];

test('health is told without the security header, for the server as a whole', async () => {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address, []);
  const ask = (service: string): Uint8Array => encodeMessage(HealthCheckRequest, { service });
  const answer = await client.unary(HEALTH_SERVICE.check.path, ask(''));
  assert.deepEqual(decodeMessage(HealthCheckResponse, answer, 99).status, 1);
  const refusal = ['INVALID_ARGUMENT', 'per-service health is not supported'];
  assert.deepEqual(await refusalOf(client.unary(HEALTH_SERVICE.check.path, ask('SpiffeWorkloadAPI'))), refusal);
  assert.deepEqual(await client.stream(HEALTH_SERVICE.watch.path, ask('x')).ended, refusal);
  const watch = client.stream(HEALTH_SERVICE.watch.path);
  assert.equal(decodeMessage(HealthCheckResponse, await watch.next(), 99).status, 1);
  watch.cancel();
});

for (const { path } of Object.values(REFLECTION_SERVICE)) {
  test(`${path} tells of what is served and of nothing else`, async () => {
    await using api = await startTestWorkloadApi();
    using raw = connectRaw(api.address);
    const ask = async (question: Question): Promise<ReturnType<typeof ServerReflectionResponse.decode>> => {
      const body = [frame(encodeMessage(ServerReflectionRequest, question))];
      const { message } = await raw.call({ path, body });
      return decodeMessage(ServerReflectionResponse, message ?? assert.fail('no answer'), 1e6);
    };
    const listed = (await ask({ listServices: '*' })).listServicesResponse?.service.map(({ name }) => name);
    assert.deepEqual(listed, [
      'SpiffeWorkloadAPI',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
    for (const fileContainingSymbol of ['SpiffeWorkloadAPI.FetchX509SVID', 'X509SVID.hint', 'google.protobuf.Value']) {
      const files = (await ask({ fileContainingSymbol })).fileDescriptorResponse?.fileDescriptorProto ?? [];
      assert.ok(files.length > 0, fileContainingSymbol);
      for (const file of files) descriptors.FileDescriptorProto.decode(file);
    }
    const byName = await ask({ fileByFilename: 'spiffe/workload/workload.proto' });
    assert.equal(byName.fileDescriptorResponse?.fileDescriptorProto.length, 2);
    for (const question of [
      { fileContainingSymbol: 'svidgate.admin.v1.Admin' },
      { fileContainingSymbol: 'constructor' },
      { fileByFilename: 'svidgate/admin/v1/admin.proto' },
      { fileByFilename: '../../etc/passwd' },
      { fileContainingExtension: { containingType: 'X509SVID', extensionNumber: 1 } },
      { allExtensionNumbersOfType: 'lost' },
    ]) {
      assert.equal((await ask(question)).errorResponse?.errorCode, 5, JSON.stringify(question));
    }
    assert.equal(
      (await ask({ allExtensionNumbersOfType: 'X509SVID' })).allExtensionNumbersResponse?.baseTypeName,
      'X509SVID',
    );
    assert.equal((await ask({})).errorResponse?.errorCode, 3);
  });
}

test('a method of no service is a mistake that is found at the start', () => {
  assert.throws(() => createReflectionEndpoint([{ path: '/a.B/C' }]), /no service a\.B/);
  assert.throws(() => createReflectionEndpoint([{ path: 'x' }]), /no gRPC method/);
});

test('each file names all that it imports, and each symbol stands in one file', () => {
  const names = new Set(PROTO_FILES.map(({ name }) => name));
  for (const { imports } of PROTO_FILES) for (const name of imports) assert.ok(names.has(name), name);
  const symbols = PROTO_FILES.flatMap((file) => file.symbols);
  assert.equal(new Set(symbols).size, symbols.length);
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { BUILD_LIMIT_MS, buildGo } from '../support/conformance-client.ts';
import { startTestServer } from '../support/server.ts';

const exec = promisify(execFile);

describe('grpcurl, which asks the server for everything by reflection', { timeout: BUILD_LIMIT_MS }, () => {
  let grpcurl = '';
  before(async () => {
    grpcurl = await buildGo('grpcurl', 'github.com/fullstorydev/grpcurl/cmd/grpcurl');
  });
  const ask = async (socket: string, ...args: readonly string[]): Promise<string> => {
    const path = socket.replace(/^unix:/, '');
    const { stdout } = await exec(grpcurl, ['-plaintext', '-unix', ...args.slice(0, -2), path, ...args.slice(-2)]);
    return stdout;
  };

  it('lists what the workload socket serves, and describes each service with its messages', async () => {
    await using server = await startTestServer();
    const { stdout } = await exec(grpcurl, ['-plaintext', '-unix', server.socket.replace(/^unix:/, ''), 'list']);
    const services = stdout.trim().split('\n');
    assert.deepEqual(services, [
      'SpiffeWorkloadAPI',
      'envoy.service.discovery.v3.AggregatedDiscoveryService',
      'envoy.service.extension.v3.ExtensionConfigDiscoveryService',
      'envoy.service.secret.v3.SecretDiscoveryService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
    for (const service of services)
      assert.match(await ask(server.socket, 'describe', service), /is a service:\nservice/);
    for (const message of ['X509SVIDResponse', 'google.protobuf.Struct', 'envoy.config.core.v3.Node']) {
      assert.match(await ask(server.socket, 'describe', message), /is a message:\nmessage/);
    }
    await assert.rejects(ask(server.socket, 'describe', 'svidgate.admin.v1.Admin'), /not found|no such/i);
  });

  it('fetches an SVID by field names, and is told of health', async () => {
    await using server = await startTestServer();
    const path = server.socket.replace(/^unix:/, '');
    const call = async (method: string, data: string): Promise<Record<string, unknown>> => {
      const args = ['-plaintext', '-unix', '-H', 'workload.spiffe.io: true', '-d', data, path, method];
      return JSON.parse((await exec(grpcurl, args)).stdout) as Record<string, unknown>;
    };
    const { svids } = await call('SpiffeWorkloadAPI/FetchJWTSVID', '{"audience":["api"]}');
    assert.equal((svids as readonly Record<string, unknown>[])[0]?.['spiffeId'], 'spiffe://example.test/test');
    assert.deepEqual(await call('grpc.health.v1.Health/Check', '{}'), { status: 'SERVING' });
    assert.deepEqual(await call('grpc.health.v1.Health/List', '{}'), { statuses: { '': { status: 'SERVING' } } });
    await assert.rejects(
      call('grpc.health.v1.Health/Check', '{"service":"x"}'),
      /Code: InvalidArgument\s+Message: per-service health is not supported/,
    );
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import protobuf from 'protobufjs';
import descriptors from 'protobufjs/ext/descriptor.js';
import { compareProtos } from '../../tools/protos/compare.ts';
import { loadOurProtos } from '../../tools/protos/load.ts';
import { askClient, BUILD_LIMIT_MS, buildGo } from '../support/conformance-client.ts';

test(
  "the Workload API, health and reflection are defined as in Go's packages",
  { timeout: BUILD_LIMIT_MS },
  async () => {
    const { set } = await askClient({ command: await buildGo('go') }, '', 'descriptors');
    const decoded = descriptors.FileDescriptorSet.decode(Buffer.from(String(set), 'base64'));
    const reference = protobuf.Root.fromDescriptor(decoded as never, { keepCase: true });
    reference.resolveAll();
    const ours = loadOurProtos({ keepCase: true, beneath: ['grpc', 'spiffe'] });
    assert.deepEqual(compareProtos(ours, reference, { leftOut: {}, ahead: {} }), []);
    ours.lookupType('X509SVID').fields['hint']!.id = 6;
    assert.match(compareProtos(ours, reference, { leftOut: {}, ahead: {} }).join(), /^X509SVID\.hint: string = 6/);
  },
);

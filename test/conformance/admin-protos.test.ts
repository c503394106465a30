import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import protobuf from 'protobufjs';
import { ADMIN_RPCS } from '../../src/proto/index.ts';
import { loadOurProtos } from '../../tools/protos/load.ts';

describe('ADMIN_RPCS', () => {
  const services = (
    loadOurProtos({ keepCase: true }).resolveAll().lookup('svidgate.admin.v1') as protobuf.Namespace
  ).nestedArray.filter((child) => child instanceof protobuf.Service);

  it('are all methods of all services of protos/svidgate/admin, with their messages', () => {
    const declared = services.flatMap((service) =>
      service.methodsArray.map((method) => ({
        path: `/${service.fullName.slice(1)}/${method.name}`,
        requestStream: method.requestStream === true,
        responseStream: method.responseStream === true,
        request: method.resolvedRequestType?.fullName.slice(1),
        response: method.resolvedResponseType?.fullName.slice(1),
      })),
    );
    const ours = Object.values(ADMIN_RPCS).map(({ request, response, ...method }) => ({
      ...method,
      request: request.getTypeUrl().split('/')[1],
      response: response.getTypeUrl().split('/')[1],
    }));
    assert.deepEqual(ours, declared);
  });

  it('have names of their own, those of the methods', () => {
    for (const [name, { path }] of Object.entries(ADMIN_RPCS)) {
      assert.equal(path.split('/')[2]?.toLowerCase(), name.toLowerCase());
    }
  });
});

describe('enums of the admin API', () => {
  it('begin with a value that says nothing, so that a field left out is never taken for a choice', () => {
    const enums = (loadOurProtos({ keepCase: true }).lookup('svidgate.admin.v1') as protobuf.Namespace).nestedArray;
    for (const child of enums) {
      if (child instanceof protobuf.Enum) assert.match(child.valuesById[0] ?? '', /_UNSPECIFIED$/, child.name);
    }
  });
});

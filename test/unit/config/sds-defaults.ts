import type { SdsConfig } from '../../../src/config/index.ts';

/** The section `sds` when the file says nothing of it. */
export const SDS_DEFAULTS: SdsConfig = {
  defaultSvidName: 'default',
  defaultBundleName: 'ROOTCA',
  defaultAllBundlesName: 'ALL',
  disableSpiffeCertValidation: false,
  unknownName: 'error',
  ackTimeoutMs: 30_000,
  limits: { streams: 2000, namesPerStream: 1000, requestsPerSecond: 1000, requestBytesPerSecond: 67_108_864 },
  jwtSvids: [],
  secrets: new Map(),
  files: [],
  peers: new Map(),
};

import { X509Certificate } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';

import {
  decodeMessage,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  Secret,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
  SpiffeCertValidatorConfig,
  unpackAny,
} from '../../src/proto/index.ts';
import type { Entry } from './run-folder.ts';

/** An X.509-SVID with its key and the trust bundle, as a client holds them. PEM texts. */
export interface ClientIdentity {
  readonly certificateChain: string;
  readonly privateKey: string;
  readonly trustBundle: string;
  readonly spiffeId: string;
}

const MAX_BYTES = 1024 * 1024;
const LIMIT_MS = 10_000;

export const OBSERVER_SPIFFE_ID = 'spiffe://mesh.test/observer';

/** A second identity of the demo, which an operator gives it while svidgate runs. It may read orders. */
export const CLERK_SPIFFE_ID = 'spiffe://mesh.test/clerk';

/** The demo itself as a registered workload: an identity that is genuine, and that no policy lists. */
export function observerEntry(): Entry {
  return {
    spiffe_id: OBSERVER_SPIFFE_ID,
    selectors: [`unix:uid:${process.getuid?.()}`, `unix:path:${readlinkSync('/proc/self/exe')}`],
    x509_svid_ttl: '10m',
  };
}

/** Fetches the first identity of this very process over SDS, the way any program can. Rejects with a gRPC error. */
export async function fetchOwnIdentity(socketPath: string): Promise<ClientIdentity> {
  const response = await fetchSecrets(socketPath, [OBSERVER_SPIFFE_ID, 'ROOTCA']);
  const secrets = response.resources.map((resource) => unpackAny(Secret, resource, MAX_BYTES));
  const tls = secrets.find((secret) => secret.tlsCertificate !== null)?.tlsCertificate;
  const validator = secrets.find((secret) => secret.validationContext !== null)?.validationContext;
  const config = validator?.customValidatorConfig?.typedConfig;
  if (!tls?.certificateChain || !tls.privateKey || !config) throw new Error('SDS gave no identity');
  const domains = unpackAny(SpiffeCertValidatorConfig, config, MAX_BYTES).trustDomains;
  const certificateChain = textOf(tls.certificateChain.inlineBytes);
  const leaf = new X509Certificate(certificateChain);
  return {
    certificateChain,
    privateKey: textOf(tls.privateKey.inlineBytes),
    trustBundle: domains.map((domain) => textOf(domain.trustBundle?.inlineBytes)).join(''),
    spiffeId: leaf.subjectAltName?.replace(/^URI:/, '') ?? '',
  };
}

async function fetchSecrets(socketPath: string, resourceNames: readonly string[]): Promise<DiscoveryResponse> {
  const client = new grpc.Client(`unix:${socketPath}`, grpc.credentials.createInsecure(), {
    'grpc.default_authority': 'svidgate',
  });
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        SECRET_DISCOVERY_SERVICE.fetchSecrets.path,
        (names: readonly string[]) =>
          Buffer.from(encodeMessage(DiscoveryRequest, { resourceNames: [...names], typeUrl: SECRET_TYPE_URL })),
        (bytes: Buffer) => decodeMessage(DiscoveryResponse, bytes, MAX_BYTES),
        resourceNames,
        { deadline: Date.now() + LIMIT_MS },
        (error, response) => (response === undefined ? reject(error ?? new Error('no answer')) : resolve(response)),
      );
    });
  } finally {
    client.close();
  }
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString('utf8');
}

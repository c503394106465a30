import { Secret, SpiffeCertValidatorConfig, unpackAny, type DiscoveryResponse } from '../../src/proto/index.ts';
import { connect } from '../../test/support/grpc-client.ts';
import { PEER_SPIFFE_ID } from './bench-server.ts';

/** What a TLS client shows and trusts. PEM texts. */
export interface ClientIdentity {
  readonly certificateChain: string;
  readonly privateKey: string;
  readonly trustBundle: string;
}

const MAX_BYTES = 1024 * 1024;

/** An X.509-SVID, by default that of the calling service, over SDS as this process. Rejects with the gRPC error. */
export async function fetchPeerIdentity(sds: string, spiffeId = PEER_SPIFFE_ID): Promise<ClientIdentity> {
  using client = connect(sds);
  return identityOf(await client.fetchSecrets([spiffeId, 'ROOTCA']));
}

function identityOf(response: DiscoveryResponse): ClientIdentity {
  const secrets = response.resources.map((resource) => unpackAny(Secret, resource, MAX_BYTES));
  const tls = secrets.find((secret) => secret.tlsCertificate !== null)?.tlsCertificate;
  const validator = secrets.find((secret) => secret.validationContext !== null)?.validationContext;
  const config = validator?.customValidatorConfig?.typedConfig;
  if (!tls || !config) throw new Error('SDS gave no identity');
  const { trustDomains } = unpackAny(SpiffeCertValidatorConfig, config, MAX_BYTES);
  return {
    certificateChain: textOf(tls.certificateChain?.inlineBytes),
    privateKey: textOf(tls.privateKey?.inlineBytes),
    trustBundle: trustDomains.map((domain) => textOf(domain.trustBundle?.inlineBytes)).join(''),
  };
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}

import { Secret, unpackAny } from '../../src/proto/index.ts';
import { connect } from './grpc-client.ts';

/** An X.509-SVID of the server as Envoy would present it at the gate: its leaf and chain in URL-encoded PEM. */
export async function presentedSvid(socket: string, spiffeId: string): Promise<string> {
  using client = connect(socket);
  const { resources } = await client.fetchSecrets([spiffeId]);
  const [any] = resources;
  if (any === undefined) throw new Error(`there is no secret ${spiffeId}`);
  const chain = unpackAny(Secret, any, 1 << 20).tlsCertificate?.certificateChain?.inlineBytes ?? new Uint8Array();
  return encodeURIComponent(Buffer.from(chain).toString());
}

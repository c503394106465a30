import {
  CheckRequest,
  CheckResponse,
  decodeMessage,
  encodeMessage,
  type CheckRequestInit,
} from '../../src/proto/index.ts';
import { PEER_SPIFFE_ID, SERVICE_SPIFFE_ID } from './bench-server.ts';

/** Different paths, so that nothing is answered from a memory of the last request. */
const DISTINCT = 64;

/** Check requests as an Envoy with mTLS sends them, each with a path of its own, all of them allowed. */
export function checkRequests(certificateChain: string): readonly Uint8Array[] {
  return Array.from({ length: DISTINCT }, (_, index) =>
    encodeMessage(CheckRequest, checkRequest(certificateChain, index)),
  );
}

/** Whether Envoy would let the request pass. */
export function isAllowed(reply: Uint8Array): boolean {
  return decodeMessage(CheckResponse, reply, 1024 * 1024).status?.code === 0;
}

function checkRequest(certificateChain: string, index: number): CheckRequestInit {
  const certificate = encodeURIComponent(certificateChain);
  const path = `/orders/${1000 + index}?verbose=true`;
  const id = `6f1ed0a2-33c5-4b0e-9a3c-${String(index).padStart(12, '0')}`;
  return {
    attributes: {
      source: {
        address: { socketAddress: { address: '10.20.30.40', portValue: 40_000 + index } },
        principal: PEER_SPIFFE_ID,
        certificate,
      },
      destination: {
        address: { socketAddress: { address: '10.20.30.41', portValue: 8444 } },
        principal: SERVICE_SPIFFE_ID,
      },
      request: {
        time: { seconds: 1_800_000_000, nanos: index * 1000 },
        http: {
          id: String(10_000_000_000 + index),
          method: 'GET',
          path,
          host: 'orders.bench.test',
          scheme: 'https',
          protocol: 'HTTP/2',
          size: -1,
          headers: {
            ':authority': 'orders.bench.test',
            ':method': 'GET',
            ':path': path,
            ':scheme': 'https',
            accept: 'application/json',
            'accept-encoding': 'gzip, br',
            'user-agent': 'web/1.4 (linux)',
            'x-request-id': id,
            'x-forwarded-for': '10.20.30.40',
            'x-forwarded-proto': 'https',
            'x-forwarded-client-cert': `By=${SERVICE_SPIFFE_ID};URI=${PEER_SPIFFE_ID};Chain="${certificate}"`,
            traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
          },
        },
      },
      contextExtensions: { 'svidgate.policy': 'default' },
      tlsSession: { sni: 'orders.bench.test' },
    },
  };
}

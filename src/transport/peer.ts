/** The process at the other end of a Unix socket, as the kernel named it when the connection was accepted. */
export interface PeerProcess {
  /** 0 when the process is outside of our pid namespace. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Aborted when the process is seen to have ended, even while somebody else holds the connection. */
  readonly exited: AbortSignal;
  /** Gives its file descriptors free. */
  close(): void;
}

/** Who proved a private key: its certificate was accepted by the `ClientJudge` of the listener, at this call again. */
export interface TlsPeer {
  readonly kind: 'tls';
  readonly connectionId: number;
  /** `HOST:PORT`. Proves nothing. */
  readonly address: string;
  readonly spiffeId: string;
  /** Of its certificate, in hex. */
  readonly serial: string;
}

/** Who is at the other end of a connection. What a kind that one does not know may do is nothing. */
export type Peer =
  | { readonly kind: 'unix'; readonly connectionId: number; readonly process: PeerProcess }
  | { readonly kind: 'tcp'; readonly connectionId: number; readonly address: string }
  | TlsPeer;

/** Who answers for what the connections of a peer hold: its user, its SPIFFE ID, and for all that are anybody the same. */
export function ownerOf(peer: Peer): string {
  switch (peer.kind) {
    case 'unix':
      return `uid ${peer.process.uid}`;
    case 'tls':
      return peer.spiffeId;
    case 'tcp':
      return '';
  }
}

/** Reads the credentials of an accepted Unix connection from the kernel. Throws when the kernel gives none. */
export type IdentifyPeer = (fileDescriptor: number) => PeerProcess;

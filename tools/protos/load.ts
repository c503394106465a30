import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

export const PROTOS_FOLDER = fileURLToPath(new URL('../../protos/', import.meta.url));

/** The files of protos/ that no other imports; the rest follows from their imports. */
const ENTRY_FILES = [
  'envoy/extensions/transport_sockets/tls/v3/tls.proto',
  'envoy/service/auth/v3/auth.proto',
  'envoy/service/secret/v3/secret.proto',
];

/**
 * Reads .proto files and what they import, searched in `folders` in this order, into one resolved Root.
 * The common google.protobuf.* definitions are those of protobufjs.
 */
export function loadProtoFiles(files: readonly string[], folders: readonly string[]): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => {
    if (protobuf.common.get(target) !== null) return target;
    return folders.map((folder) => join(folder, target)).find((path) => existsSync(path)) ?? target;
  };
  root.loadSync([...files], { alternateCommentMode: true });
  root.resolveAll();
  return root;
}

/** The messages and services of protos/. */
export function loadOurProtos(): protobuf.Root {
  return loadProtoFiles(ENTRY_FILES, [PROTOS_FOLDER]);
}

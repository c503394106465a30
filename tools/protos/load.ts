import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

export const PROTOS_FOLDER = fileURLToPath(new URL('../../protos/', import.meta.url));

export interface LoadOptions {
  /** Searched in this order. */
  readonly folders: readonly string[];
  /** Keep field names as the .proto has them; otherwise they are in lowerCamelCase, as in the generated code. */
  readonly keepCase: boolean;
}

/**
 * Reads .proto files and what they import into one resolved Root.
 * The common google.protobuf.* definitions are those of protobufjs.
 */
export function loadProtoFiles(files: readonly string[], options: LoadOptions): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => {
    if (protobuf.common.get(target) !== null) return target;
    return options.folders.map((folder) => join(folder, target)).find((path) => existsSync(path)) ?? target;
  };
  root.loadSync([...files], { alternateCommentMode: true, keepCase: options.keepCase });
  root.resolveAll();
  return root;
}

/** The messages and services of every file in protos/. */
export function loadOurProtos(options: Pick<LoadOptions, 'keepCase'>): protobuf.Root {
  const files = readdirSync(PROTOS_FOLDER, { recursive: true, encoding: 'utf8' });
  return loadProtoFiles(files.filter((file) => file.endsWith('.proto')).sort(), {
    folders: [PROTOS_FOLDER],
    keepCase: options.keepCase,
  });
}

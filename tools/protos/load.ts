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

/** The messages and services of every file in protos/, or of those beneath some of its folders. */
export function loadOurProtos(
  options: Pick<LoadOptions, 'keepCase'> & { readonly beneath?: readonly string[] },
): protobuf.Root {
  const { keepCase, beneath } = options;
  const files = readdirSync(PROTOS_FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.proto'))
    .filter((file) => beneath === undefined || beneath.some((folder) => file.startsWith(`${folder}/`)));
  return loadProtoFiles(files.sort(), { folders: [PROTOS_FOLDER], keepCase });
}

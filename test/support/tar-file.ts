import { Buffer } from 'node:buffer';
import { gunzipSync, gzipSync } from 'node:zlib';

/** One entry of an archive that is made by hand, also what no program would write. */
export interface TarEntry {
  readonly path: string;
  readonly content?: string | Uint8Array;
  /** Default `0`: a file. */
  readonly type?: string;
  /** Default: that of the content. */
  readonly size?: number;
  readonly linkName?: string;
}

const BLOCK = 512;

/** Plain ustar, with two blocks of zeros at its end. */
export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(2 * BLOCK)]);
}

export function tarGz(entries: readonly TarEntry[]): Buffer {
  return gzipSync(tar(entries));
}

/** Header, content and padding of one. */
export function tarEntry({ path, content = '', type = '0', linkName = '', ...rest }: TarEntry): Buffer {
  const body = Buffer.from(content as Uint8Array);
  const header = Buffer.alloc(BLOCK);
  header.write(path, 0, 100);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${(rest.size ?? body.byteLength).toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(linkName, 157, 100);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, body, Buffer.alloc((BLOCK - (body.byteLength % BLOCK)) % BLOCK)]);
}

/** The files of an archive with short names, by their names in it. */
export function untarGz(bytes: Uint8Array): Map<string, Buffer> {
  const archive = gunzipSync(bytes);
  const files = new Map<string, Buffer>();
  for (let at = 0; archive[at] !== undefined && archive[at] !== 0;) {
    const name = archive.subarray(at, archive.indexOf(0, at)).toString();
    const size = Number.parseInt(archive.subarray(at + 124, at + 136).toString(), 8);
    files.set(name, archive.subarray(at + BLOCK, at + BLOCK + size));
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}

/** The inverse of untarGz. */
export function retarGz(files: ReadonlyMap<string, string | Uint8Array>): Buffer {
  return tarGz([...files].map(([path, content]) => ({ path, content })));
}

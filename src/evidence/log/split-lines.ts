/** One line without its end; undefined for one that was longer than the limit. */
export interface FoundLine {
  readonly bytes: Buffer | undefined;
  /** False for what follows the last newline. */
  readonly isEnded: boolean;
}

const NEWLINE = 0x0a;

/** The lines of a stream, empty ones left out. Keeps at most one line of `maxBytes` and one chunk. */
export async function* splitLines(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<FoundLine[]> {
  let pieces: Buffer[] = [];
  let length = 0;
  const take = (piece: Buffer): void => {
    length += piece.length;
    if (length <= maxBytes) pieces.push(piece);
    else pieces = [];
  };
  const finish = (isEnded: boolean): FoundLine[] => {
    const bytes = length > maxBytes ? undefined : pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
    const found = length === 0 ? [] : [{ bytes, isEnded }];
    pieces = [];
    length = 0;
    return found;
  };
  for await (const chunk of chunks) {
    const lines: FoundLine[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end));
      lines.push(...finish(true));
      start = end + 1;
    }
    if (start < chunk.length) take(Buffer.from(chunk.subarray(start)));
    yield lines;
  }
  yield finish(false);
}

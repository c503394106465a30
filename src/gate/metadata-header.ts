/** What of a policy's metadata fits into one header. */
const MAX_LENGTH = 4096;

/** Metadata as the value of a header, in ASCII; undefined where it does not fit. */
export function metadataHeader(metadata: object): string | undefined {
  // oxlint-disable-next-line no-control-regex
  const text = JSON.stringify(metadata).replaceAll(/[^\u0000-\u007e]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return text.length > MAX_LENGTH ? undefined : text;
}

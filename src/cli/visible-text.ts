/** Controls, and what turns the direction of writing: text from elsewhere must not move the cursor of a terminal. */
const INVISIBLE = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** The text with what cannot be seen as escapes, such as `\u{1b}`. */
export function visibleText(text: string): string {
  return text.replaceAll(INVISIBLE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/** As visibleText, line by line. */
export function visibleLines(text: string): string {
  return text.split('\n').map(visibleText).join('\n');
}

/**
 * What a command prints, as a terminal may get it: line feeds and tabs, and what cannot be seen otherwise as escapes of JSON, which
 * alone leaves the controls above 0x7f as they are. In JSON it stays the same text.
 */
export function visibleOutput(text: string): string {
  return text.replaceAll(INVISIBLE, (character) =>
    character === '\n' || character === '\t'
      ? character
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

import { SvidgateError } from '../core/index.ts';

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
const MAX_TEXT_LENGTH = 40;
/** 100 years: beyond it dates in certificates stop making sense. */
const MAX_MS = 876_000 * 3_600_000;

/**
 * Milliseconds of a duration such as `24h`, `1h30m`, `1.5s` or `100ms`. Units h, m, s and ms, largest first, each at
 * most once. Throws `config_invalid` for another form, for parts of a millisecond and for more than 100 years.
 */
export function parseDuration(text: string): number {
  const parts = text.length > MAX_TEXT_LENGTH ? null : /^(?:[\d.]+h)?(?:[\d.]+m)?(?:[\d.]+s)?(?:[\d.]+ms)?$/.exec(text);
  if (parts === null || text === '') throw malformed();
  let total = 0;
  for (const [, number = '', unit = ''] of text.matchAll(/([\d.]+)(ms|h|m|s)/g)) {
    if (!/^\d+(?:\.\d+)?$/.test(number)) throw malformed();
    total += Number(number) * (UNIT_MS[unit] ?? Number.NaN);
  }
  if (total > MAX_MS) throw new SvidgateError('config_invalid', 'a duration is at most 876000h (100 years)');
  const rounded = Math.round(total);
  // 1.1s is 1100.0000000000002 in floating point.
  if (Math.abs(total - rounded) > 1e-3) throw new SvidgateError('config_invalid', 'a duration is whole milliseconds');
  return rounded;
}

/** The shortest text that parseDuration gives the same milliseconds for. */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = '';
  for (const [unit, size] of Object.entries(UNIT_MS)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === '' ? '0s' : text;
}

function malformed(): SvidgateError {
  return new SvidgateError('config_invalid', 'a duration is written such as 24h, 1h30m or 100ms');
}

/** Expressions on time. */
import { calls, texts } from './compare.ts';

const TIMES = [
  '0',
  '1755555555123456789',
  '-1',
  '9223372036854775807',
  '9223372036854775808',
  '1.5',
  'input.s',
  '[1755555555123456789, "Europe/Berlin"]',
  '[1711846799999999999, "Europe/Berlin"]',
  '[0, ""]',
  '[0, "Local"]',
  '[0, "Nowhere/City"]',
  '[1755555555123456789, "America/New_York"]',
  '[1]',
];
const TYPED = TIMES.filter((time) => time !== '[1]');

export const TIME_EXPRESSIONS: readonly string[] = [
  'time.now_ns()',
  'time.now_ns() == time.now_ns()',
  'time.format(time.now_ns())',
  ...['time.clock', 'time.date', 'time.weekday', 'time.format'].flatMap((name) => calls(name, TYPED)),
  ...calls('time.format', [
    '[1755555555123456789, "Europe/Berlin", "RFC822Z"]',
    '[1755555555123456789, "", "Mon Jan _2 15:04:05.000 MST 2006"]',
    '[1755555555123456789, "Asia/Kolkata", "2006-002 pm Z07:00 é"]',
    '[1, "UTC", ""]',
  ]),
  ...calls('time.add_date', TYPED.slice(0, 7), ['1', '-200', '99999999999'], ['13', '0'], ['-31', '0']),
  ...calls('time.diff', TYPED.slice(0, 8), ['0', '[1711846799999999999, "Europe/Berlin"]']),
  ...calls(
    'time.parse_duration_ns',
    texts('', '1h30m', '-1.5s', '1d', '9223372036854775807ns', '300000h', '1us', '1µs', 'h', '+5m', ' 1s'),
  ),
  ...calls(
    'time.parse_rfc3339_ns',
    texts(
      '',
      '2020-02-03T04:05:06.789Z',
      '2020-02-30T00:00:00Z',
      '2020-02-03 04:05:06Z',
      '2262-04-12T00:00:00Z',
      '1600-01-01T00:00:00+14:00',
      '2020-02-03t04:05:06z',
      '2020-02-03T04:05:60Z',
      '2020-02-03T04:05:06,7Z',
      '0001-01-01T00:00:00Z',
    ),
  ),
  ...calls(
    'time.parse_ns',
    texts('2006-01-02', 'RFC822', '02 Jan 06 15:04 MST', 'Jan _2 3PM', 'é2006', ''),
    texts('2020-02-03', '03 Feb 20 04:05 CET', 'Feb  3 4PM', 'é2020', '', '2020-13-01'),
  ),
];

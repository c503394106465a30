import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatFields, formatTable } from '../../../src/cli/table.ts';
import { visibleLines, visibleOutput, visibleText } from '../../../src/cli/visible-text.ts';
import { formatAge, formatSpanTo } from '../../../src/cli/when.ts';

describe('a table', () => {
  test('has aligned columns without trailing spaces', () => {
    const rows = [
      ['a', 'long value', ''],
      ['longer name', 'x', 'y'],
    ];
    assert.equal(
      formatTable(['NAME', 'VALUE', 'LAST'], rows),
      'NAME          VALUE        LAST\na             long value   -\nlonger name   x            y\n',
    );
  });

  test('without rows is a word', () => {
    assert.equal(formatTable(['NAME'], [], 'no entries'), 'no entries\n');
  });

  test('shows what would move the cursor of a terminal', () => {
    const evil = 'node\u001b[2J\u202e\r\nadmin';
    assert.equal(formatTable(['NODE'], [[evil]]), 'NODE\nnode\\u{1b}[2J\\u{202e}\\u{d}\\u{a}admin\n');
    assert.equal(visibleText('ä ✓ 東'), 'ä ✓ 東');
    assert.equal(visibleLines('a\nb\u0007'), 'a\nb\\u{7}');
  });
});

describe('what a command prints', () => {
  test('has no controls but line feeds, and as JSON means the same', () => {
    const evil = { node_id: 'a\u001b[2J\u009b2J\u007f\u202e\n✓' };
    const shown = visibleOutput(`${JSON.stringify(evil)}\n`);
    assert.equal(shown, '{"node_id":"a\\u001b[2J\\u009b2J\\u007f\\u202e\\n✓"}\n');
    assert.deepEqual(JSON.parse(shown), evil);
  });
});

describe('fields', () => {
  test('are lines with aligned values; a list has a line for each, and what is empty none', () => {
    assert.equal(
      formatFields({ Name: 'a', Selectors: ['x', 'y'], Hint: '', Empty: [], Gone: undefined }),
      'Name:        a\nSelectors:   x\n             y\n',
    );
  });
});

describe('a time', () => {
  const NOW = Date.UTC(2026, 0, 1);
  const CASES: readonly (readonly [number, string])[] = [
    [0, 'in 0s'],
    [119_000, 'in 119s'],
    [120_000, 'in 2m'],
    [52 * 60_000, 'in 52m'],
    [119 * 60_000, 'in 119m'],
    [2 * 3_600_000, 'in 2h'],
    [47 * 3_600_000, 'in 47h'],
    [49 * 3_600_000, 'in 2d'],
    [-1000, '1s ago'],
    [-3 * 86_400_000, '3d ago'],
  ];
  for (const [ms, text] of CASES) {
    test(`${ms} ms from now is ${text}`, () => assert.equal(formatSpanTo(NOW + ms, NOW), text));
  }

  test('that is absent is empty', () => assert.equal(formatAge(null, NOW), ''));
});

// @vitest-environment happy-dom

import { expect, test, vi } from 'vitest';
import { close } from './quiet.ts';
import { MdStream } from './stream.ts';

vi.mock('./sanitise.ts', () => import('./sanitise.fake.ts'));

test.each([
  ['a **b', 'a **b**'],
  ['a **', 'a'],
  ['a **b*', 'a **b**'],
  ['**a** b', '**a** b'],
  ['***a', '***a***'],
  ['**a *b', '**a *b***'],
  ['*a', '*a*'],
  ['2 * 3', '2 * 3'],
  ['snake_case_na', 'snake_case_na'],
  ['_a', '_a_'],
  ['~~a', '~~a~~'],
  ['~a', '~a'],
  ['`a', '`a`'],
  ['`', ''],
  ['``a`', '``a``'],
  ['`a*b` c', '`a*b` c'],
  ['**a `b', '**a `b`**'],
  ['[a', 'a'],
  ['[a](http', 'a'],
  ['see [**a', 'see **a**'],
  ['[a](b) c', '[a](b) c'],
  ['![a](http://x', 'a'],
  ['a[0', 'a[0'],
  ['[1] b', '[1] b'],
  ['a &am', 'a'],
  ['a &#3', 'a'],
  ['a &amp; b', 'a &amp; b'],
  ['Q&A', 'Q'],
  ['Q&A b', 'Q&A b'],
  ['a[^1', 'a[^1'],
  ['[^1] b', '[^1] b'],
  ['a <b cla', 'a'],
  ['a <b> c', 'a <b> c'],
  ['a < b', 'a < b'],
  ['a\\', 'a'],
  ['\\*a', '\\*a'],
  ['', ''],
])('%j is closed as %j', (text, closed) => {
  expect(close(text)).toBe(closed);
});

/** What is on the screen after each character, without repetitions. */
function screens(text: string): string[] {
  const element = document.createElement('div');
  const stream = new MdStream(element);
  const seen: string[] = [];
  for (const character of text) {
    stream.append(character);
    if (element.innerHTML !== seen.at(-1)) seen.push(element.innerHTML);
  }
  stream.end();
  if (element.innerHTML !== seen.at(-1)) seen.push(element.innerHTML);
  return seen;
}

test('nothing is shown that is taken back', () => {
  expect(screens('- **a**\n')).toEqual(['', '<ul><li><strong>a</strong></li></ul>']);
  expect(screens('## T\n')).toEqual(['', '<h3>T</h3>']);
  expect(screens('- [x] a')).toEqual(['', '<ul><li class="task">☑ a</li></ul>']);
  expect(screens('a\n---\n')).toEqual(['<p>a</p>', '<h3>a</h3>']);
  expect(screens('a\n\n---\n')).toEqual(['<p>a</p>', '<p>a</p><hr>']);
  expect(screens('a\n1. b')).toEqual(['<p>a</p>', '<p>a</p><ol><li>b</li></ol>']);
  expect(screens('[a](https://b.example)')).toEqual([
    '<p></p>',
    '<p>a</p>',
    '<p><a href="https://b.example/" rel="noopener noreferrer nofollow" target="_blank">a</a></p>',
  ]);
});

test('a table is one from its first cell on', () => {
  const texts = screens('| a | b |\n|---|:-:|\n| 1 | 2 |\n').filter((html) => html !== '');
  expect(texts.every((html) => html.startsWith('<div class="table"'))).toBe(true);
});

test('the marks of a fence are never shown', () => {
  for (const html of screens('```js\nlet x = `y`\n```\nend')) expect(html).not.toContain('``');
});

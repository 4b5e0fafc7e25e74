// @vitest-environment happy-dom

import { expect, test } from 'vitest';
import { HOSTILE } from './hostile.ts';
import { faults } from './safe.ts';
import { MdStream } from './stream.ts';

function check(pieces: readonly string[]): string {
  const element = document.createElement('div');
  const stream = new MdStream(element);
  for (const piece of pieces) {
    stream.append(piece);
    expect(faults(element)).toEqual([]);
  }
  stream.end();
  expect(faults(element)).toEqual([]);
  return element.innerHTML;
}

test('there are cases', () => expect(HOSTILE.length).toBeGreaterThan(80));

// A browser has them cut at every place (frontend/test): its parser is the one that counts.
test.each(HOSTILE)('%s', (text) => {
  const once = check([text]);
  for (const part of [3, 2]) {
    const at = Math.floor(text.length / part);
    expect(check([text.slice(0, at), text.slice(at)])).toBe(once);
  }
});

test('what is refused leaves its text', () => {
  expect(check(['[x](javascript:1) <b onclick=1>y</b> <span style="color:red">z</span>'])).toBe('<p>x <b>y</b> z</p>');
  expect(check(['![a *b*](https://example.com/i.png)'])).toBe(
    '<p><a href="https://example.com/i.png" rel="noopener noreferrer nofollow" target="_blank">a b</a></p>',
  );
  expect(check(['the style="x" of <b>style</b>'])).toBe('<p>the style="x" of <b>style</b></p>');
});

// @vitest-environment happy-dom

import { expect, test, vi } from 'vitest';
import { HOSTILE } from './hostile.ts';
import { faults } from './safe.ts';
import { MdStream } from './stream.ts';

vi.mock('./sanitise.ts', () => import('./sanitise.fake.ts'));

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

// What is written as HTML is for the tests in Chromium alone, which also cut each case at every place:
// in happy-dom there is no sanitising that is worth a test.
const MARKDOWN = HOSTILE.filter((text) => !/<[a-z/!?]/i.test(text) || text.startsWith('```'));

test.each(MARKDOWN)('%s', (text) => {
  const once = check([text]);
  for (const part of [3, 2]) {
    const at = Math.floor(text.length / part);
    expect(check([text.slice(0, at), text.slice(at)])).toBe(once);
  }
});

test('what is refused leaves its text', () => {
  expect(check(['[x](javascript:1) [y](/a) [z](https://a:b@example.com)'])).toBe('<p>x y z</p>');
  expect(check(['![a *b*](https://example.com/i.png)'])).toBe(
    '<p><a href="https://example.com/i.png" rel="noopener noreferrer nofollow" target="_blank">a b</a></p>',
  );
});

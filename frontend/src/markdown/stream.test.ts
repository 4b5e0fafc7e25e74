// @vitest-environment happy-dom

import { tests } from 'commonmark-spec';
import { expect, test } from 'vitest';
import { MdStream } from './stream.ts';

/** What is drawn of a text that comes in pieces. */
function drawn(pieces: Iterable<string>): string {
  const element = document.createElement('div');
  const stream = new MdStream(element);
  for (const piece of pieces) stream.append(piece);
  stream.end();
  return element.innerHTML;
}

function cut(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  return Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));
}

test.each(tests)('CommonMark example $number', ({ markdown }) => {
  const once = drawn([markdown]);
  expect(drawn(cut(markdown, 5))).toBe(once);
  expect(drawn(cut(markdown, markdown.length))).toBe(once);
});

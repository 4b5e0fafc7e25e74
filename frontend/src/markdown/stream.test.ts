// @vitest-environment happy-dom

import { tests } from 'commonmark-spec';
import { Lexer } from 'marked';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { MdStream } from './stream.ts';
import { TEXTS } from './texts.ts';

function open(): { element: HTMLElement; stream: MdStream } {
  const element = document.createElement('div');
  return { element, stream: new MdStream(element) };
}

/** What is drawn of a text that comes in pieces. */
function drawn(pieces: Iterable<string>): string {
  const { element, stream } = open();
  for (const piece of pieces) stream.append(piece);
  stream.end();
  return element.innerHTML;
}

function cut(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  return Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));
}

/** A text as a model gives it: some four characters at a time. */
function tokens(text: string): string[] {
  return text.match(/[^]{1,4}/g) ?? [];
}

describe('streamed is one shot', () => {
  test.each(tests)('CommonMark example $number', ({ markdown }) => {
    const once = drawn([markdown]);
    expect(drawn(cut(markdown, 5))).toBe(once);
    expect(drawn(cut(markdown, markdown.length))).toBe(once);
  });

  test.each(Object.entries(TEXTS))('%s', (_, text) => {
    const once = drawn([text]);
    expect(once).not.toBe('');
    expect(drawn(cut(text, 5))).toBe(once);
    expect(drawn(cut(text, Math.min(text.length, 2000)))).toBe(once);
    const { element, stream } = open();
    for (const [i] of cut(text, 50).entries()) stream.replace(text.slice(0, (i * text.length) / 50));
    stream.replace(text);
    stream.end();
    expect(element.innerHTML).toBe(once);
  });

  test('all examples as one text', () => {
    const text = tests.map(({ markdown }) => markdown).join('\n\n');
    expect(drawn(cut(text, 1000))).toBe(drawn([text]));
  });
});

/** Counts what is written to the document: nodes added and removed, text and attributes changed. */
async function writes(element: HTMLElement, work: () => void): Promise<number> {
  let count = 0;
  const observer = new MutationObserver((records) => {
    for (const record of records) count += record.type === 'childList' ? record.addedNodes.length + record.removedNodes.length : 1;
  });
  observer.observe(element, { childList: true, characterData: true, attributes: true, subtree: true });
  work();
  await Promise.resolve();
  observer.disconnect();
  return count;
}

describe('settled blocks', () => {
  test('stay the same nodes while the tail grows', () => {
    const { element, stream } = open();
    const text = Object.values(TEXTS).join('\n\n').replaceAll('\r\n', '\n').replace(/^\[[^\]]+\]:.*$/gm, '');
    let before: Element[] = [];
    for (const piece of cut(text, text.length / 5)) {
      stream.append(piece);
      const now = [...element.children];
      const kept = before.slice(0, -4); // the tail may hold a few
      expect(now.slice(0, kept.length).every((node, i) => node === kept[i])).toBe(true);
      before = now;
    }
    expect(before.length).toBeGreaterThan(40);
  });
});

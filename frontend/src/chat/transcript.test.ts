// @vitest-environment happy-dom

import { beforeEach, expect, test } from 'vitest';
import type { Piece } from './answer.ts';
import { Transcript } from './transcript.ts';

let element: HTMLElement;
let transcript: Transcript;

beforeEach(() => {
  element = document.createElement('div');
  transcript = new Transcript(element);
});

const pieces = (...texts: string[]): Piece[] => texts.map((text, i) => ({ id: i + 2, text }));

test('the text of the element is the text', () => {
  let want = '';
  for (let i = 0; i < 2000; i++) {
    const text = i % 7 === 0 ? '\n' : i % 50 === 1 ? '\nnext\n\n' : ` ${i}`;
    transcript.append(pieces(text));
    want += text;
  }
  expect(element.textContent).toBe(want);
  expect(element.children.length).toBeGreaterThan(5);
});

test('a seam stands between two texts and has none', () => {
  transcript.append([...pieces('one '), { id: 3, text: '', seam: true }, { id: 4, text: 'two\n' }]);
  const [block] = element.children;
  expect([...block!.childNodes].map((child) => (child instanceof HTMLElement ? child.className : child.textContent))).toEqual(['one ', 'seam', 'two\n']);
  expect(element.textContent).toBe('one two\n');
});

test('another text takes the place of the one before', () => {
  transcript.append([...pieces('one\n', 'x'.repeat(3000), '\n', 'two'), { id: 9, text: '', seam: true }]);
  transcript.replace(pieces('one\n'));
  expect(element.textContent).toBe('one\n');
  expect(element.querySelector('.seam')).toBeNull();
  transcript.append(pieces('three'));
  expect(element.textContent).toBe('one\nthree');
});

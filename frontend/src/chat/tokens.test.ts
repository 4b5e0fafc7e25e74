// @vitest-environment happy-dom

import { beforeEach, expect, test } from 'vitest';
import type { Piece } from './answer.ts';
import { Tokens } from './tokens.ts';

let element: HTMLElement;
let picked: number[];
let tokens: Tokens;

beforeEach(() => {
  element = document.createElement('div');
  picked = [];
  tokens = new Tokens(element, (id) => picked.push(id));
});

/** Events from 2 to the last, each tenth with the end of a line. */
const pieces = (last: number): Piece[] => Array.from({ length: last - 1 }, (_, i) => ({ id: i + 2, text: i % 10 === 9 ? '.\n\n' : ` ${i}` }));
const text = (list: readonly Piece[]): string => list.map((piece) => piece.text).join('');
const spans = (): HTMLElement[] => [...element.querySelectorAll<HTMLElement>('.token')];

test('an element for each event, with its id; their text is the text', () => {
  for (const piece of pieces(1000)) tokens.append([piece]);
  expect(spans()).toHaveLength(999);
  expect(spans()[0]).toMatchObject({ title: 'event 2' });
  expect(spans().map((span) => Number(span.dataset['id']))).toEqual(pieces(1000).map((piece) => piece.id));
  expect(element.textContent).toBe(text(pieces(1000)));
  expect(element.children.length).toBeGreaterThan(3); // blocks, so that a frame lays out the last alone
});

test('back and forth, what stays is not drawn again', () => {
  tokens.append(pieces(700));
  const before = spans();
  for (const last of [650, 211, 210, 3, 1, 650]) {
    tokens.replace(pieces(last));
    expect(element.textContent).toBe(text(pieces(last)));
    expect(spans()).toHaveLength(last - 1);
    if (last > 3) continue;
    expect(spans().every((span, i) => span === before[i])).toBe(true);
  }
  tokens.replace(pieces(200));
  tokens.append(pieces(300).slice(199));
  expect(element.textContent).toBe(text(pieces(300)));
});

test('a seam has no text and cannot be picked; a token can', () => {
  tokens.append([{ id: 2, text: 'one' }, { id: 3, text: '', seam: true }, { id: 4, text: 'two' }]);
  expect([...element.querySelectorAll('span')].map((span) => span.className)).toEqual(['token', 'seam', 'token']);
  element.querySelector<HTMLElement>('.seam')!.click();
  spans()[1]!.click();
  element.click();
  expect(picked).toEqual([4]);
});

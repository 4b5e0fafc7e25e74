// @vitest-environment happy-dom

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Answer, type Piece, type View } from './answer.ts';

let element: HTMLElement;
let answer: Answer;

beforeEach(() => {
  vi.useFakeTimers();
  element = document.createElement('div');
  answer = new Answer(element);
});
afterEach(() => void vi.useRealTimers());

const source = (): string | null => element.getAttribute('data-source');
const pieces = (text: string, first = 2): Piece[] => [...text].map((c, i) => ({ id: first + i, text: c }));
const text = '# One\n\nTwo **three** `four`\n\n- five\n';

test('Markdown is drawn as such, and its source is in the attribute', () => {
  answer.append(pieces(text));
  answer.end();
  expect(element.querySelector('.markdown strong')?.textContent).toBe('three');
  expect(answer.text).toBe(text);
  expect(source()).toBe(text);
});

test('each view draws the same, whenever it is chosen; only Markdown has another text', () => {
  const views: View[] = ['source', 'tokens', 'text', 'tokens', 'source', 'text'];
  for (const ended of [false, true]) {
    answer.clear();
    answer.append(pieces(text));
    if (ended) answer.end();
    const { innerHTML } = element;
    for (const view of views) {
      answer.view = view;
      expect(element.children).toHaveLength(1);
      if (view === 'text') expect(element.innerHTML).toBe(innerHTML);
      else expect(element.textContent).toBe(text);
      expect(source()).toBe(text);
    }
  }
});

test('a view that is chosen on the way goes on', () => {
  const all = pieces(text);
  answer.append(all.slice(0, 9));
  answer.view = 'tokens';
  answer.append(all.slice(9, 20));
  answer.view = 'source';
  answer.append(all.slice(20));
  expect(element.textContent).toBe(text);
  expect(element.firstElementChild!.className).toBe('source');
});

for (const view of ['text', 'source', 'tokens'] as const) {
  test(`a seek back and forth gives what one drawing gives: ${view}`, () => {
    const all = pieces(text);
    answer.view = view;
    answer.append(all);
    answer.end();
    for (const n of [17, 0, 12, all.length]) {
      answer.replace(all.slice(0, n));
      const other = document.createElement('div');
      const whole = new Answer(other, view);
      whole.append(all.slice(0, n));
      whole.end();
      answer.end();
      expect(element.innerHTML).toBe(other.innerHTML);
      expect(source()).toBe(answer.text);
      expect(answer.text).toBe(all.slice(0, n).map((piece) => piece.text).join(''));
    }
  });
}

test('an event is picked in the tokens view', () => {
  const picked: number[] = [];
  answer.onPick = (id) => picked.push(id);
  answer.view = 'tokens';
  answer.append(pieces('abc'));
  element.querySelectorAll<HTMLElement>('.token')[1]!.click();
  expect(picked).toEqual([3]);
});

test('of a large text the attribute is written now and then, and at last', () => {
  answer = new Answer(element, 'source');
  const large = 'x'.repeat(1 << 16);
  answer.append([{ id: 2, text: large }]);
  const write = vi.spyOn(element, 'setAttribute');
  for (let i = 0; i < 10; i++) answer.append([{ id: 3 + i, text: 'y' }]);
  expect(write).not.toHaveBeenCalled();
  vi.advanceTimersByTime(250);
  expect(source()).toBe(large + 'y'.repeat(10));
  expect(write).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('sync and clear leave no write behind', () => {
  answer = new Answer(element, 'source');
  const large = 'x'.repeat(1 << 16);
  answer.append([{ id: 2, text: large }, { id: 3, text: '' }]);
  answer.sync();
  expect(source()).toBe(large);
  answer.append([{ id: 4, text: 'y' }]);
  answer.clear();
  expect(source()).toBe('');
  expect(vi.getTimerCount()).toBe(0);
});

// @vitest-environment happy-dom

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MdStream } from './stream.ts';

vi.mock('./sanitise.ts', () => import('./sanitise.fake.ts'));

let element: HTMLElement;
let stream: MdStream;

beforeEach(() => {
  element = document.createElement('div');
  document.body.append(element);
  stream = new MdStream(element);
});

afterEach(() => {
  element.remove();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const code = (): Element => element.querySelector('pre > code') as Element;

test('code is coloured when its fence closes, and reads as it did', async () => {
  stream.append('```ts\nconst a = "<b>&amp;";\n');
  expect(code().textContent).toBe('const a = "<b>&amp;";');
  stream.append('```\n');
  await vi.waitFor(() => expect(code().querySelector('.hljs-keyword')?.textContent).toBe('const'));
  expect(code().textContent).toBe('const a = "<b>&amp;";');
  const coloured = code().innerHTML;
  stream.end();
  expect(code().innerHTML).toBe(coloured);
  stream.append('\n\n```py\nimport os\n```\n'); // the highlighter is there now
  expect(element.querySelectorAll('.hljs-keyword')).toHaveLength(2);
});

test.each([
  ['```py\nx\n```', 'Python'],
  ['```C++ title=x\nx\n```', 'C++'],
  ['```brainfuck\nx\n```', 'brainfuck'],
  ['```\nx\n```', ''],
  ['    x\n', ''],
])('%j has the label %j', (text, label) => {
  stream.append(text);
  stream.end();
  expect(element.querySelector('.code-head span')?.textContent).toBe(label);
});

test('an unknown language is not guessed', async () => {
  stream.append('```nope\nconst a = 1\n```\n');
  stream.end();
  await Promise.resolve();
  expect(code().children).toHaveLength(0);
});

test('the button copies the code and says so', async () => {
  vi.useFakeTimers();
  const writeText = vi.fn(() => Promise.resolve());
  vi.stubGlobal('navigator', { clipboard: { writeText } });
  stream.append('```\na\n\nb\n```\n');
  const button = element.querySelector('button') as HTMLButtonElement;
  expect(button.getAttribute('aria-label')).toBe('Copy code');
  button.click();
  await vi.advanceTimersByTimeAsync(0);
  expect(writeText).toHaveBeenCalledWith('a\n\nb\n');
  expect(button.textContent).toBe('Copied');
  await vi.advanceTimersByTimeAsync(2000);
  expect([button.textContent, button.getAttribute('aria-label')]).toEqual(['Copy', 'Copy code']);
});

test('without a clipboard the code is selected', async () => {
  vi.stubGlobal('navigator', {});
  stream.append('```\nabc\n```\n');
  (element.querySelector('button') as HTMLButtonElement).click();
  await vi.waitFor(() => expect(getSelection()?.toString()).toBe('abc'));
});

test('code and tables that may be wider than the page are reached by keyboard', () => {
  stream.append('```\nx\n```\n\n| a |\n|---|\n| 1 |\n');
  stream.end();
  expect(element.querySelector('pre')?.getAttribute('tabindex')).toBe('0');
  expect(element.querySelector('.table')?.getAttribute('tabindex')).toBe('0');
});

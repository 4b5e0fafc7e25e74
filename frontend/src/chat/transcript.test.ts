import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Transcript } from './transcript.ts';

/** As much of a document as a Transcript asks for. */
class Node_ {
  data = '';
  hidden = false;
  className = '';
  children: Node_[] = [];
  attributes: Record<string, string> = {};
  writes = 0;
  get length(): number {
    return this.data.length;
  }
  get textContent(): string {
    return this.data + this.children.map((child) => child.textContent).join('');
  }
  set textContent(text: string) {
    this.data = text;
  }
  append(child: Node_): void {
    this.children.push(child);
  }
  appendData(text: string): void {
    this.data += text;
  }
  replaceChildren(): void {
    this.children = [];
  }
  setAttribute(name: string, value: string): void {
    this.attributes[name] = value;
    this.writes++;
  }
}

let element: Node_;
let transcript: Transcript;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('document', {
    createElement: () => new Node_(),
    createTextNode: (text: string) => Object.assign(new Node_(), { data: text }),
  });
  element = new Node_();
  transcript = new Transcript(element as unknown as HTMLElement);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const source = (): string | undefined => element.attributes['data-source'];

test('the text of the element is the text, and so is its attribute', () => {
  let want = '';
  for (let i = 0; i < 2000; i++) {
    const text = i % 7 === 0 ? '\n' : i % 50 === 1 ? '\nnext\n\n' : ` ${i}`;
    transcript.append(text);
    want += text;
  }
  expect(element.textContent).toBe(want);
  expect(transcript.text).toBe(want);
  expect(source()).toBe(want);
  expect(element.children.length).toBeGreaterThan(5);
});

test('a mark stands between two texts and has none', () => {
  transcript.append('one ');
  transcript.mark();
  transcript.append('two\n');
  const [block] = element.children;
  expect(block!.children.map((child) => child.className || child.data)).toEqual(['one ', 'seam', 'two\n']);
  expect(element.textContent).toBe('one two\n');
  expect(source()).toBe('one two\n');
});

test('of a large text the attribute is written now and then, and at last', () => {
  const large = 'x'.repeat(1 << 16);
  transcript.append(large);
  const before = element.writes;
  for (let i = 0; i < 10; i++) transcript.append('y');
  expect(element.writes).toBe(before);
  vi.advanceTimersByTime(250);
  expect(source()).toBe(large + 'y'.repeat(10));
  expect(element.writes).toBe(before + 1);
  expect(vi.getTimerCount()).toBe(0);
});

test('sync and clear leave no write behind', () => {
  const large = 'x'.repeat(1 << 16);
  transcript.append(large);
  transcript.sync();
  expect(source()).toBe(large);
  expect(vi.getTimerCount()).toBe(0);
  transcript.append('y');
  transcript.clear();
  expect(source()).toBe('');
  expect(vi.getTimerCount()).toBe(0);
});

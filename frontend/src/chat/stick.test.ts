import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Stick } from './stick.ts';

/** As much of an element as a Stick looks at; it keeps scrollTop where a browser would. */
class Box extends EventTarget {
  firstElementChild = {};
  clientHeight = 100;
  #height = 100;
  #top = 0;

  get scrollHeight(): number {
    return this.#height;
  }
  set scrollHeight(height: number) {
    this.#height = height;
    this.scrollTop = this.#top;
  }
  get scrollTop(): number {
    return this.#top;
  }
  set scrollTop(top: number) {
    this.#top = Math.max(0, Math.min(top, this.#height - this.clientHeight));
  }

  /** The reader scrolls, and an event tells of it. */
  scroll(by: number): void {
    this.scrollTop += by;
    this.dispatchEvent(new Event('scroll'));
  }
}

describe('Stick', () => {
  let box: Box;
  let stick: Stick;
  let changes: boolean[];
  let resize: () => void;

  beforeEach(() => {
    vi.stubGlobal(
      'ResizeObserver',
      class {
        constructor(callback: () => void) {
          resize = callback;
        }
        observe(): void {}
        disconnect(): void {}
      },
    );
    box = new Box();
    changes = [];
    stick = new Stick(box as unknown as HTMLElement, (stuck) => changes.push(stuck));
  });
  afterEach(() => vi.unstubAllGlobals());

  function grow(to: number): void {
    box.scrollHeight = to;
    stick.follow();
  }

  test('goes with the text', () => {
    grow(300);
    expect(box.scrollTop).toBe(200);
    grow(330);
    expect(box.scrollTop).toBe(230);
    expect(changes).toEqual([]);
  });

  test('stays where the reader has scrolled to, however much comes', () => {
    grow(300);
    box.scroll(-50);
    grow(900);
    expect(box.scrollTop).toBe(150);
    expect(changes).toEqual([false]);
  });

  test('a scroll that no event has told of yet counts', () => {
    grow(300);
    box.scrollTop = 150;
    grow(330);
    expect(box.scrollTop).toBe(150);
    expect(changes).toEqual([false]);
  });

  test('goes on with the text when the reader is back at the end', () => {
    grow(300);
    box.scroll(-50);
    box.scroll(45);
    grow(330);
    expect(box.scrollTop).toBe(230);
    expect(changes).toEqual([false, true]);
  });

  test('down, but not to the end, is not stuck', () => {
    grow(500);
    box.scroll(-300);
    box.scroll(100);
    grow(530);
    expect(box.scrollTop).toBe(200);
  });

  test('text that shrinks takes the box up with it, which is not the reader', () => {
    grow(500);
    box.scrollHeight = 300;
    box.dispatchEvent(new Event('scroll'));
    grow(600);
    expect(box.scrollTop).toBe(500);
    expect(changes).toEqual([]);
  });

  test('a box that changes its size stays at the end', () => {
    grow(500);
    box.clientHeight = 60;
    resize();
    expect(box.scrollTop).toBe(440);
    box.clientHeight = 140;
    box.scrollHeight = 500; // keeps it within
    resize();
    expect(box.scrollTop).toBe(360);
    expect(changes).toEqual([]);
  });

  test('a reader who has all of it on the screen is at the end again', () => {
    grow(500);
    box.scroll(-300);
    grow(80);
    grow(600);
    expect(box.scrollTop).toBe(500);
    expect(changes).toEqual([false, true]);
  });

  test('at the start, nothing is followed until toEnd', () => {
    grow(500);
    stick.toStart();
    grow(600);
    box.scroll(30);
    box.clientHeight = 60;
    resize();
    expect(box.scrollTop).toBe(30);
    stick.toEnd();
    grow(700);
    expect(box.scrollTop).toBe(640);
    expect(changes).toEqual([]);
  });

  test('toEnd brings the reader back', () => {
    grow(500);
    box.scroll(-300);
    stick.toEnd();
    expect(box.scrollTop).toBe(400);
    expect(changes).toEqual([false, true]);
  });

  test('ends with destroy', () => {
    grow(500);
    stick.destroy();
    box.scroll(-300);
    expect(changes).toEqual([]);
  });
});

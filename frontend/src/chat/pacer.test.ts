import { describe, expect, test } from 'vitest';
import type { StreamEvent } from '../client/index.ts';
import { Pacer, share } from './pacer.ts';

const event = (id: number): StreamEvent => ({ type: 'text', id, text: String(id) });

function harness(atOnce = false): { pacer: Pacer; drawn: number[][]; frame: (time: number) => void; waiting: () => boolean } {
  const drawn: number[][] = [];
  let next: ((time: number) => void) | undefined;
  const pacer = new Pacer({
    draw: (events) => drawn.push(events.map((e) => e.id)),
    schedule: (callback) => {
      next = callback;
      return () => (next = undefined);
    },
    atOnce: () => atOnce,
  });
  const frame = (time: number): void => {
    const callback = next;
    next = undefined;
    callback?.(time);
  };
  return { pacer, drawn, frame, waiting: () => next !== undefined };
}

describe('Pacer', () => {
  test('a frame draws what empties the queue in 200 ms', () => {
    expect(share(125, 16)).toBe(10);
    expect(share(1, 16)).toBe(1);
    expect(share(3, 16)).toBe(1);
    expect(share(100, 500)).toBe(100);
  });

  test('a burst is drawn in order, over several frames, and ends', () => {
    const h = harness();
    for (let id = 1; id <= 100; id++) h.pacer.push(event(id));
    let frames = 0;
    for (; h.waiting(); frames++) h.frame(frames * 16);
    expect(h.drawn.flat()).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(frames).toBeGreaterThan(5);
    expect(frames).toBeLessThan(60);
  });

  test('history is drawn in one frame', () => {
    const h = harness();
    h.pacer.history = 50;
    for (let id = 1; id <= 60; id++) h.pacer.push(event(id));
    h.frame(0);
    expect(h.drawn[0]!.slice(0, 50)).toHaveLength(50);
    expect(h.drawn[0]!.length).toBeLessThan(60);
  });

  test('all at once where nobody wants frames', () => {
    const h = harness(true);
    for (let id = 1; id <= 60; id++) h.pacer.push(event(id));
    h.frame(0);
    expect(h.drawn).toHaveLength(1);
    expect(h.waiting()).toBe(false);
  });

  test('clear throws away and draws nothing more', () => {
    const h = harness();
    for (let id = 1; id <= 60; id++) h.pacer.push(event(id));
    h.frame(0);
    const drawn = h.drawn.flat().length;
    h.pacer.clear();
    expect(h.waiting()).toBe(false);
    h.pacer.push(event(drawn + 1));
    h.frame(16);
    expect(h.drawn.flat()).toEqual(Array.from({ length: drawn + 1 }, (_, i) => i + 1));
  });

  test('flush draws now', () => {
    const h = harness();
    h.pacer.push(event(1));
    h.pacer.push(event(2));
    h.pacer.flush();
    h.pacer.flush();
    expect(h.drawn).toEqual([[1, 2]]);
    expect(h.waiting()).toBe(false);
  });
});

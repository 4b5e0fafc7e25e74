import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Place } from './address.ts';
import { AddressBar } from './addressbar.ts';

let calls: string[];

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  vi.stubGlobal('location', { pathname: '/', search: '' });
  vi.stubGlobal('history', {
    pushState: (_state: unknown, _title: string, url: string) => calls.push(`push ${url}`),
    replaceState: (_state: unknown, _title: string, url: string) => calls.push(`replace ${url}`),
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const place = (at: number): Place => ({ id: 's1', at, paused: false, pace: 0 });

test('updates are gathered', () => {
  const bar = new AddressBar();
  for (let at = 1; at <= 5; at++) bar.update(place(at));
  vi.advanceTimersByTime(250);
  expect(calls).toEqual(['replace /s/s1?at=5']);
});

test('an update that waits is taken back by drop, and made before a push', () => {
  const bar = new AddressBar();
  bar.update(place(1));
  bar.drop();
  vi.advanceTimersByTime(1000);
  expect(calls).toEqual([]);
  bar.update(place(2));
  bar.push(place(3));
  vi.advanceTimersByTime(1000);
  expect(calls).toEqual(['replace /s/s1?at=2', 'push /s/s1?at=3']);
  expect(vi.getTimerCount()).toBe(0);
});

import { expect, test } from 'vitest';
import type { Session } from '../client/index.ts';
import { modelOf, shorten } from './question.ts';

test('shorten', () => {
  expect(shorten('abc', 5)).toBe('abc');
  expect(shorten('naïve', 3)).toBe('na');
  expect(shorten('a👩b', 4)).toBe('a');
  expect(shorten('a👩b', 5)).toBe('a👩');
});

test('the model of a session', () => {
  for (const [source, want] of [
    [{ type: 'generate' }, 'demo'],
    [{ type: 'upstream', model: 'aimock/gpt-4o' }, 'aimock/gpt-4o'],
    [{ type: 'push' }, ''],
    [{ type: 'text' }, ''],
  ] as const) {
    expect(modelOf({ source } as Session)).toBe(want);
  }
});

import { expect, test } from 'vitest';
import { shorten } from './question.ts';

test('shorten', () => {
  expect(shorten('abc', 5)).toBe('abc');
  expect(shorten('naïve', 3)).toBe('na');
  expect(shorten('a👩b', 4)).toBe('a');
  expect(shorten('a👩b', 5)).toBe('a👩');
});

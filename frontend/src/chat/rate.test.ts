import { expect, test } from 'vitest';
import { Rate } from './rate.ts';

test('rate over the last two seconds', () => {
  const rate = new Rate();
  expect(rate.at(0)).toBe(0);
  rate.add(5, 0);
  expect(rate.at(100)).toBe(0);
  for (let time = 100; time <= 2000; time += 100) rate.add(3, time);
  expect(rate.at(2000)).toBeCloseTo(30, 0);
  expect(rate.at(3000)).toBeLessThan(30); // it has stalled
  expect(rate.at(9000)).toBe(0);
  rate.clear();
  expect(rate.at(9000)).toBe(0);
});

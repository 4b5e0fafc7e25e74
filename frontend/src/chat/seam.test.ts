import { expect, test } from 'vitest';
import { tell } from './seam.ts';

test('a seam tells where, and how well it joins', () => {
  const said = 'From event 8 on this is another answer of the model, which was asked to go on after 40 characters.';
  expect(tell({ id: 8, by: 'prefill', characters: 40 })).toBe(said);
  expect(tell({ id: 8, by: 'message', characters: 40 })).toBe(`${said} It was shown the text and asked for the rest, so the join may not be exact.`);
  expect(tell({ id: 8, by: 'prefill', characters: 1 })).toContain('after 1 character.');
  expect(tell({ id: 8, by: 'anew', characters: 0 })).toBe('The model was asked anew, because there was no text yet to go on from.');
  expect(tell({ id: 8, by: '', characters: 40 })).toBe(said);
});

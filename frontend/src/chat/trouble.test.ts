import { describe, expect, test } from 'vitest';
import { ProblemError } from '../client/index.ts';
import { lament, refusal, sentence } from './trouble.ts';

describe('lament', () => {
  for (const [code, want] of [
    ['storage_full', 'The relay’s disk is full, and the rest of this answer could not be kept.'],
    ['storage_failed', 'The relay’s disk took nothing for too long, and the rest of this answer could not be kept.'],
    ['relay_full', 'All the sessions of the relay together have reached its limit, and there was no room for the rest of this answer.'],
    ['session_full', 'This answer has reached the length that the relay allows one session.'],
    ['not_continuable', 'The relay was restarted in the middle of this answer, and its provider cannot be asked for the rest of it.'],
    ['upstream_truncated', 'The stream broke off.'],
  ] as const) {
    test(code, () => {
      const failure = { code, message: 'the stream broke off' };
      expect(lament(failure, true)).toBe(`${want} What came is above.`);
      expect(lament(failure, false)).toBe(want);
    });
  }

  test('without a message, the code is all there is', () => {
    expect(lament({ code: 'idle_timeout', message: '' }, true)).toBe('Idle timeout. What came is above.');
  });
});

test('sentence', () => {
  expect(sentence('the relay was restarted')).toBe('The relay was restarted.');
  expect(sentence('Is it over?')).toBe('Is it over?');
  expect(sentence(' é: “what?” ')).toBe('É: “what?”');
  expect(sentence('')).toBe('');
});

test('a refusal is said once', () => {
  expect(refusal(new ProblemError(404, { code: 'session_not_found', detail: 'no such session' }))).toEqual({ title: 'There is no such session', detail: '' });
  expect(refusal(new ProblemError(410, { code: 'session_expired', detail: 'the session is gone' }))).toEqual({ title: 'This session has expired', detail: '' });
  expect(refusal(new ProblemError(404))).toEqual({ title: 'There is no such session', detail: 'the server answered with status 404' });
  expect(refusal(new TypeError('x is undefined'))).toEqual({ title: 'This page has a fault', detail: 'x is undefined' });
  expect(refusal(new ProblemError(416, { code: 'cursor_ahead', detail: 'cursor 60 is ahead' })).detail).toBe('cursor 60 is ahead');
});

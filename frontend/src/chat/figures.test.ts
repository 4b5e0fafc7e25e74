import { expect, test } from 'vitest';
import type { Session, TerminalEvent } from '../client/index.ts';
import { figures } from './figures.ts';

const end = (output_tokens?: number): TerminalEvent => ({ id: 213, type: 'end', outcome: 'done', reason: 'stop', usage: output_tokens === undefined ? {} : { output_tokens } }) as TerminalEvent;
const session = (first_text?: string, ended?: string): Session => ({ timings: { ...(first_text ? { first_text } : {}), ...(ended ? { ended } : {}) } }) as Session;

test.each([
  ['all', 213, end(211), session('2026-11-22T00:00:00.000Z', '2026-11-22T00:00:03.638Z'), '213 events, 211 tokens, 58 tokens/s'],
  ['one of each', 1, end(1), undefined, '1 event, 1 token'],
  ['estimated', 213, { ...end(), usage: { output_tokens: 211, source: 'estimated' } } as TerminalEvent, undefined, '213 events, ~211 tokens'],
  ['no usage', 213, end(), session('2026-11-22T00:00:00Z', '2026-11-22T00:00:03Z'), '213 events'],
  ['no tokens', 2, end(0), undefined, '2 events'],
  ['no end of the time', 213, end(211), session('2026-11-22T00:00:00Z'), '213 events, 211 tokens'],
  ['no time at all', 213, end(211), session('2026-11-22T00:00:00Z', '2026-11-22T00:00:00Z'), '213 events, 211 tokens'],
  ['no terminal event', 213, undefined, undefined, '213 events'],
])('%s', (_, events, end, session, want) => {
  expect(figures(events, end, session)).toBe(want);
});

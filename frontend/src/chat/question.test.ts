import { describe, expect, test } from 'vitest';
import type { Session } from '../client/index.ts';
import { modelOf, repeat, request, shorten, type Question } from './question.ts';

const question: Question = { prompt: 'hello', model: 'demo', unit: 'word', speed: 120 };

describe('request', () => {
  test('the demo writes at its own rate, whatever the speed, and has no history', () => {
    for (const speed of [0, 30, 'step'] as const) {
      expect(request({ ...question, speed }, [{ role: 'user', content: 'before' }])).toEqual({ source: { type: 'generate', prompt: 'hello', length: 1600 }, unit: 'word', rate: 160, metadata: { prompt: 'hello' } });
    }
  });

  test('a model is asked with what was said before', () => {
    const before = { role: 'user', content: [{ type: 'text', text: 'before' }], name: 'me' };
    expect(request({ ...question, model: 'p/m' }, [before], 's1')).toEqual({
      source: { type: 'upstream', model: 'p/m', messages: [before, { role: 'user', content: 'hello' }] },
      unit: 'word',
      metadata: { prompt: 'hello', previous: 's1' },
    });
  });
});

describe('repeat', () => {
  const session = { id: 's1', state: 'done', source: { type: 'generate' }, unit: 'token', last_event_id: 9, events_url: '', metadata: { prompt: 'p', previous: 's0' } } as const;

  test('all is the same but the seed', () => {
    const made: Session = { ...session, encoding: 'cl100k_base', encoding_source: 'request', rate: 60 };
    expect(repeat({ type: 'generate', prompt: 'p', seed: 7, length: 40 }, made)).toEqual({
      source: { type: 'generate', prompt: 'p', length: 40 },
      unit: 'token',
      encoding: 'cl100k_base',
      rate: 60,
      metadata: { prompt: 'p', previous: 's0' },
    });
  });

  test('what nobody has chosen is not asked for', () => {
    const source = { type: 'upstream', model: 'p/m', dialect: 'responses', messages: [{ role: 'user', content: 'p' }], parameters: { temperature: 0 } } as const;
    expect(repeat(source, { ...session, encoding: 'o200k_base', encoding_source: 'model', rate: 0 })).toEqual({ source, unit: 'token', metadata: session.metadata });
  });
});

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

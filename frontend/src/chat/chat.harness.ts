/** A chat before a scripted server, for its tests. */

import { afterEach, beforeEach, vi } from 'vitest';
import { Client } from '../client/index.ts';
import { script, type Line } from '../client/testing.ts';
import { formatPlace } from './address.ts';
import { Chat } from './chat.svelte.ts';
import type { Question } from './question.ts';

/** Makes the tests of a file run in virtual time. */
export function inVirtualTime(): void {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
}

export const tick = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
export const question: Question = { prompt: 'hello', model: 'demo', unit: 'token', speed: 30 };

export class Drawing {
  text = '';
  marks: number[] = []; // lengths of the text before them
  append(text: string): void {
    this.text += text;
  }
  mark(): void {
    this.marks.push(this.text.length);
  }
  clear(): void {
    this.text = '';
    this.marks = [];
  }
  sync(): void {}
}

export interface Harness {
  chat: Chat;
  answer: Drawing;
  lines: Line[];
  calls: { method: string; url: string; body: Record<string, unknown> | undefined; key: string | undefined }[];
  /** The address, and how many entries the history has got. */
  url: () => string;
  entries: () => number;
  /** Whether the address has an update to make. */
  pending: () => boolean;
}

/** A chat before a scripted events route; other routes answer from `state`, unless create or other does. */
export function harness(answers: ((line: Line) => Response | void)[], state: Record<string, unknown> = {}, create?: () => Response, other?: (url: string) => Response | Promise<Response> | undefined): Harness {
  const { request, lines } = script(...answers);
  const calls: Harness['calls'] = [];
  let url = '/';
  let entries = 0;
  let pending = false;
  const client = new Client({
    fetch: (async (input: string, init: RequestInit) => {
      if (input.includes('/events')) return request(input, init as Parameters<typeof request>[1]);
      calls.push({ method: init.method!, url: input, body: init.body ? JSON.parse(init.body as string) : undefined, key: (init.headers as Record<string, string>)['Idempotency-Key'] });
      if (input === '/v1/sessions' && init.method === 'POST' && create !== undefined) return create();
      const answer = other?.(input);
      if (answer !== undefined) return answer;
      const session = { id: 's1', state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 9, events_url: '', ...state };
      return new Response(JSON.stringify(session), { status: 200 });
    }) as typeof fetch,
  });
  const answer = new Drawing();
  const chat = new Chat({
    client,
    answer,
    reasoning: new Drawing(),
    address: {
      push: (place) => {
        url = formatPlace(place);
        entries++;
      },
      update: (place) => {
        url = formatPlace(place);
        pending = true;
      },
      flush: () => void (pending = false),
      drop: () => void (pending = false),
    },
    schedule: (callback) => {
      const timer = setTimeout(() => callback(performance.now()), 16);
      return () => clearTimeout(timer);
    },
    atOnce: () => false,
  });
  return { chat, answer, lines, calls, url: () => url, entries: () => entries, pending: () => pending };
}

/** The text of the events of wireRange. */
export const text = (first: number, last: number): string => Array.from({ length: last - first + 1 }, (_, i) => ` ${first + i}`).join('');

export const problem = (status: number, code: string, detail: string): Response =>
  new Response(JSON.stringify({ code, detail }), { status, headers: status >= 429 ? { 'retry-after': '2' } : {} });

/** Answers that come one after the other; the last one stays, undefined is a server that is away. */
export function turns(...answers: (Response | undefined)[]): () => Response {
  let n = 0;
  return () => {
    const answer = answers[Math.min(n++, answers.length - 1)];
    if (answer === undefined) throw new TypeError('connection refused');
    return answer.clone();
  };
}

/** A conversation before a scripted server, for its tests. */

import { afterEach, beforeEach, vi } from 'vitest';
import { Client } from '../client/index.ts';
import { script, type Line } from '../client/testing.ts';
import { formatPlace, parsePlace } from './address.ts';
import type { Piece, Sink } from './answer.ts';
import { Conversation } from './conversation.svelte.ts';
import type { Question } from './question.ts';
import type { Reading } from './reading.svelte.ts';

/** Makes the tests of a file run in virtual time, without chance: no wait is longer than its least. */
export function inVirtualTime(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(Math, 'random').mockReturnValue(0);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

export const tick = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
export const question: Question = { prompt: 'hello', model: 'demo', unit: 'token', speed: 0 };

/** A sink that counts what is done to it. */
export class Drawn implements Sink {
  text = '';
  marks: number[] = []; // lengths of the text before them
  ids: number[] = [];
  ends = 0;
  replaced = 0;
  append(pieces: readonly Piece[]): void {
    for (const { id, text, seam } of pieces) {
      if (seam) this.marks.push(this.text.length);
      else this.ids.push(id);
      this.text += text;
    }
  }
  replace(pieces: readonly Piece[]): void {
    this.replaced++;
    this.#begin();
    this.append(pieces);
  }
  end(): void {
    this.ends++;
  }
  clear(): void {
    this.ends = this.replaced = 0;
    this.#begin();
  }
  sync(): void {}
  #begin(): void {
    this.text = '';
    this.marks = [];
    this.ids = [];
  }
}

export interface Harness {
  talk: Conversation;
  reading: Reading;
  answer: Drawn;
  reasoning: Drawn;
  lines: Line[];
  calls: { method: string; url: string; body: Record<string, unknown> | undefined; key: string | undefined }[];
  /** The address, and how many entries the history has got. */
  url: () => string;
  entries: () => number;
  /** Whether the address has an update to make. */
  pending: () => boolean;
}

/** A conversation before a scripted events route; a session's state is `state`, unless create or other answers. */
export function harness(answers: ((line: Line) => Response | void)[], state: Record<string, unknown> = {}, create?: () => Response, other?: (url: string, init: RequestInit) => Response | Promise<Response> | undefined): Harness {
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
      const answer = other?.(input, init);
      if (answer !== undefined) return answer;
      if (/\/(source|text)$/.test(input)) return problem(404, 'route_not_found', '');
      const session = { id: 's1', state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 9, events_url: '', ...state };
      if (input === '/v1/sessions') Object.assign(session, { state: 'running', last_event_id: 1, metadata: calls.at(-1)!.body!['metadata'] });
      return new Response(JSON.stringify(session), { status: 200 });
    }) as typeof fetch,
  });
  const answer = new Drawn();
  const reasoning = new Drawn();
  const talk = new Conversation({
    client,
    answer,
    reasoning,
    address: {
      read: () => parsePlace(...(url.split('?') as [string, string])),
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
  return { talk, reading: talk.reading, answer, reasoning, lines, calls, url: () => url, entries: () => entries, pending: () => pending };
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

/** A server of one session, in memory, for the tests of this library and of the page. */

import type { Request } from './line.ts';

export interface Line {
  /** The cursor that the request named. */
  readonly after: number;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly aborted: boolean;
  /** Writes raw text, or raw bytes. */
  write(data: string | Uint8Array): void;
  /** Ends the body cleanly. */
  end(): void;
  /** Breaks the body off. */
  reset(): void;
}

/** The wire form of the event with this id: `session` first, then text. */
export function wire(id: number, text = ` ${id}`): string {
  if (id === 1) return 'id: 1\nevent: session\ndata: {"id":"s1","unit":"token"}\n\n';
  return `id: ${id}\ndata: ${JSON.stringify({ text })}\n\n`;
}

export function wireRange(first: number, last: number): string {
  let out = '';
  for (let id = first; id <= last; id++) out += wire(id);
  return out;
}

export function wireDone(id: number): string {
  return `id: ${id}\nevent: done\ndata: {"reason":"stop","usage":{"output_tokens":${id - 2}}}\n\n`;
}

/** What becomes of a request; nothing is a stream that the line writes. */
export type Answer = (line: Line) => Response | Promise<Response> | void;

/** Answers each request with the next of the answers; the last one stays. */
export function script(...answers: Answer[]): { request: Request; lines: Line[] } {
  const lines: Line[] = [];
  const request: Request = async (url, init) => {
    const answer = answers[Math.min(lines.length, answers.length - 1)];
    if (answer === undefined) throw new Error('no answer is scripted');
    let controller: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (c) => void (controller = c) });
    const state = { aborted: false, over: false };
    const signal = init.signal;
    signal?.addEventListener('abort', () => {
      state.aborted = true;
      if (!state.over) controller.error(signal.reason);
      state.over = true;
    });
    const line: Line = {
      after: Number(init.headers['Last-Event-ID'] ?? new URLSearchParams(url.split('?')[1]).get('after') ?? '0'),
      url,
      headers: init.headers,
      get aborted() {
        return state.aborted;
      },
      write: (data) => {
        if (!state.over) controller.enqueue(typeof data === 'string' ? new TextEncoder().encode(data) : data);
      },
      end: () => {
        if (!state.over) controller.close();
        state.over = true;
      },
      reset: () => {
        if (!state.over) controller.error(new TypeError('network error'));
        state.over = true;
      },
    };
    lines.push(line);
    return (await answer(line)) ?? new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
  };
  return { request, lines };
}

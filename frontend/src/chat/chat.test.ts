import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client } from '../client/index.ts';
import { script, wire, wireDone, wireRange, type Line } from '../client/testing.ts';
import { formatPlace } from './address.ts';
import { Chat } from './chat.svelte.ts';
import type { Question } from './question.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const tick = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const question: Question = { prompt: 'hello', model: 'demo', unit: 'token', speed: 30 };

class Drawing {
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

interface Harness {
  chat: Chat;
  answer: Drawing;
  lines: Line[];
  calls: { method: string; url: string; body: Record<string, unknown> | undefined }[];
  /** The address, and how many entries the history has got. */
  url: () => string;
  entries: () => number;
  /** Whether the address has an update to make. */
  pending: () => boolean;
}

/** A chat before a scripted events route; other routes answer from `state`, unless create or other does. */
function harness(answers: ((line: Line) => Response | void)[], state: Record<string, unknown> = {}, create?: () => Response, other?: (url: string) => Response | Promise<Response> | undefined): Harness {
  const { request, lines } = script(...answers);
  const calls: Harness['calls'] = [];
  let url = '/';
  let entries = 0;
  let pending = false;
  const client = new Client({
    fetch: (async (input: string, init: RequestInit) => {
      if (input.includes('/events')) return request(input, init as Parameters<typeof request>[1]);
      calls.push({ method: init.method!, url: input, body: init.body ? JSON.parse(init.body as string) : undefined });
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
const text = (first: number, last: number): string => Array.from({ length: last - first + 1 }, (_, i) => ` ${first + i}`).join('');

describe('Chat', () => {
  test('send, to the end', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))]);
    void h.chat.send(question);
    expect(h.chat.phase).toBe('sending');
    await tick(1000);
    expect(h.calls[0]).toMatchObject({ body: { source: { type: 'generate', prompt: 'hello' }, unit: 'token', rate: 30, metadata: { prompt: 'hello' } } });
    expect(h.answer.text).toBe(text(2, 9));
    expect(h.chat.phase).toBe('done');
    expect(h.chat.announcement).toBe('Done at event 10');
    expect(h.url()).toBe('/s/s1?at=10');
    expect(h.entries()).toBe(1);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('max speed has no rate; a model is asked with a pace of the reader', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9))]);
    void h.chat.send({ ...question, speed: 0 });
    await tick(100);
    expect(h.calls[0]!.body).not.toHaveProperty('rate');
    void h.chat.send({ ...question, model: 'aimock/gpt-4o', speed: 30 });
    await tick(100);
    expect(h.calls[1]!.body).toMatchObject({ source: { type: 'upstream', model: 'aimock/gpt-4o', messages: [{ role: 'user', content: 'hello' }] } });
    expect(h.calls[1]!.body).not.toHaveProperty('rate');
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events?after=0&pace=30');
    expect(h.lines[0]!.aborted).toBe(true);
    expect(h.url()).toMatch(/pace=30/);
  });

  test('pause draws nothing more and closes the line; continue asks after the last event drawn', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 70) + wireDone(71))]);
    void h.chat.send(question);
    await tick(40);
    h.chat.pause();
    const at = h.chat.cursor;
    expect(at).toBeGreaterThan(1);
    expect(at).toBeLessThan(60);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(h.url()).toBe(`/s/s1?at=${at}&paused=1`);
    expect(h.chat.announcement).toBe(`Paused at event ${at}`);
    await tick(100_000);
    expect(h.answer.text).toBe(text(2, at));
    expect(h.lines).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);

    h.chat.continue();
    await tick(1000);
    expect(h.lines[1]!.after).toBe(at);
    expect(h.answer.text).toBe(text(2, 70));
    expect(h.chat.phase).toBe('done');
    expect(h.url()).toBe('/s/s1?at=71');
  });

  test('a cut drops what is not drawn, and the strip tells of it', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 70) + wireDone(71))]);
    void h.chat.send(question);
    await tick(40);
    h.chat.drop();
    const at = h.chat.cursor;
    await tick(1);
    expect(h.chat.phase).toBe('reconnecting');
    expect(h.chat.cut).toEqual({ at, open: false, back: undefined });
    expect(h.answer.text).toBe(text(2, at));
    await tick(1000);
    expect(h.lines[1]!.after).toBe(at);
    expect(h.chat.cut).toMatchObject({ at, back: { at: at + 1, missing: 0, repeated: 0 } });
    expect(h.answer.text).toBe(text(2, 70));
  });

  test('lines that each break in the frame of their bytes get on', async () => {
    const h = harness([
      (l) => {
        l.write(wireRange(l.after + 1, l.after + 50));
        setTimeout(() => l.reset(), 5);
      },
    ]);
    void h.chat.send(question);
    await tick(1000);
    expect(h.lines.map((l) => l.after)).toEqual(h.lines.map((_, i) => 50 * i));
    expect(h.lines.length).toBeGreaterThan(2);
    expect(h.chat.cursor).toBe(50 * h.lines.length);
    expect(h.answer.text).toBe(text(2, h.chat.cursor));
  });

  test('of a tool call in fragments, the name is shown once', async () => {
    const fragment = (id: number, data: string): string => `id: ${id}\nevent: tool_call\ndata: ${data}\n\n`;
    const h = harness([(l) => l.write(wire(1) + fragment(2, '{"name":"f","arguments":""}') + fragment(3, '{"name":"","arguments":"{"}') + fragment(4, '{"arguments":"}"}'))]);
    void h.chat.send(question);
    await tick(500);
    expect(h.chat).toMatchObject({ cursor: 4, tools: ['f'] });
  });

  test('a pause for want of a reader, and a seam, stand between the text and nothing else', async () => {
    const pause = 'id: 6\nevent: paused\ndata: {"reason":"no_reader"}\n\n';
    const seam = 'id: 7\nevent: resumed\ndata: {"reason":"reader"}\n\nid: 8\nevent: seam\ndata: {"by":"message","offset":9}\n\n';
    const h = harness([(l) => l.write(wireRange(1, 5) + pause + seam + wireRange(9, 12))]);
    void h.chat.send(question);
    await tick(500);
    expect(h.chat).toMatchObject({ phase: 'live', cursor: 12, heldBack: false });
    expect(h.answer.text).toBe(text(2, 5) + text(9, 12));
    expect(h.answer.marks).toEqual([text(2, 5).length]);
    expect(h.chat.seams).toEqual([{ id: 8, by: 'message', characters: text(2, 5).length }]);
  });

  test('each seam is told, behind the characters drawn before it, and forgotten with its session', async () => {
    const seam = (id: number, by: string): string => `id: ${id}\nevent: seam\ndata: {"by":"${by}","offset":99}\n\n`;
    const h = harness([(l) => l.write(wire(1) + seam(2, 'anew') + wire(3, 'naïve 👩‍👧') + seam(4, 'prefill') + wire(5, '!') + seam(6, 'message') + wireDone(7))]);
    void h.chat.open({ id: 's1', at: 7, paused: false, pace: 0 });
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'done', cursor: 7 });
    expect(h.chat.seams).toEqual([
      { id: 2, by: 'anew', characters: 0 },
      { id: 4, by: 'prefill', characters: 9 },
      { id: 6, by: 'message', characters: 10 },
    ]);
    expect(h.answer.text).toBe('naïve 👩‍👧!');
    expect(h.answer.marks).toEqual([0, 11, 12]);
    h.chat.leave();
    expect(h.chat.seams).toEqual([]);
  });

  test('a seam is said aloud', async () => {
    const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: seam\ndata: {"by":"prefill","offset":4}\n\n`)]);
    void h.chat.send(question);
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'live', announcement: 'Another answer of the model goes on from event 4' });
  });

  for (const [source, model] of [
    [{ type: 'upstream', model: 'aimock/gpt-4o' }, 'aimock/gpt-4o'],
    [{ type: 'generate' }, 'demo'],
    [{ type: 'push' }, ''],
  ] as const) {
    test(`the model is the session's own: ${source.type}`, async () => {
      const h = harness([(l) => l.write(wireRange(1, 9))], { source });
      void h.chat.open({ id: 's1', at: 5, paused: false, pace: 0 });
      await tick(100);
      expect(h.chat.model).toBe(model);
      h.chat.leave();
      expect(h.chat.model).toBe('');
      void h.chat.send({ ...question, model: 'gpt-4o' });
      expect(h.chat.model).toBe('gpt-4o');
      await tick(100);
      expect(h.chat.model).toBe(model); // in the server's words
    });
  }

  for (const [reason, why] of [
    ['stop_requested', 'Stop requested.'],
    ['no_reader', 'Nobody read it.'],
    ['unread_limit', 'Nobody read it, and the relay lets only so many answers go on unread, each only for so long.'],
  ] as const) {
    test(`stopped, because: ${reason}`, async () => {
      const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: stopped\ndata: {"reason":"${reason}"}\n\n`)]);
      void h.chat.open({ id: 's1', at: 4, paused: false, pace: 0 });
      await tick(100);
      expect(h.chat).toMatchObject({ phase: 'stopped', why, announcement: `Stopped at event 4: ${why}` });
    });
  }

  test('only a question that the page has can be asked again', async () => {
    for (const [metadata, want] of [
      [{ prompt: 'before' }, true],
      [undefined, false],
    ] as const) {
      const h = harness([(l) => l.write(`${wire(1)}id: 2\nevent: failed\ndata: {"reason":"error"}\n\n`)], { state: 'failed', metadata });
      void h.chat.open({ id: 's1', at: 2, paused: false, pace: 0 });
      await tick(100);
      expect(h.chat).toMatchObject({ phase: 'failed', repeatable: want });
      void h.chat.send(question);
      await tick(100);
      expect(h.chat).toMatchObject({ phase: 'failed', repeatable: true });
    }
  });

  test('tries that fail belong to one cut', async () => {
    const gone = (): Response => new Response(null, { status: 503 });
    const h = harness([(l) => l.write(wireRange(1, 5)), gone, gone, (l) => l.write(wireRange(6, 7))]);
    void h.chat.send(question);
    await tick(300);
    h.chat.drop();
    await tick(1200);
    expect(h.chat).toMatchObject({ phase: 'reconnecting', cuts: 1, cut: { at: 5, back: undefined } });
    await tick(20_000);
    expect(h.chat).toMatchObject({ phase: 'live', cuts: 1, cut: { at: 5, back: { at: 6 } } });
  });

  test('an address draws its text and goes on', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))], { metadata: { prompt: 'before' } });
    void h.chat.open({ id: 's1', at: 57, paused: false, pace: 0 });
    await tick(17);
    expect(h.lines[0]!.url).toBe('/v1/sessions/s1/events?after=0');
    expect(h.chat.cursor).toBeGreaterThanOrEqual(57);
    await tick(500);
    expect(h.chat).toMatchObject({ phase: 'live', cursor: 60, prompt: 'before' });
    expect(h.entries()).toBe(0);
  });

  test('a paused address stays where it is', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.chat.open({ id: 's1', at: 57, paused: true, pace: 0 });
    await tick(1000);
    expect(h.chat).toMatchObject({ phase: 'paused', cursor: 57 });
    expect(h.answer.text).toBe(text(2, 57));
    expect(h.lines[0]!.aborted).toBe(true);
    h.chat.continue();
    await tick(1000);
    expect(h.lines[1]!.after).toBe(57);
    expect(h.answer.text).toBe(text(2, 60));
  });

  test('a paused address with a pace is reached without it, and stands until then', async () => {
    const h = harness([(l) => l.write(wireRange(1, 30)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.chat.open({ id: 's1', at: 57, paused: true, pace: 10 });
    await tick(300);
    expect(h.lines[0]!.url).toBe('/v1/sessions/s1/events?after=0');
    expect(h.url()).not.toContain('at=30');
    h.lines[0]!.write(wireRange(31, 60));
    await tick(1000);
    expect(h.chat).toMatchObject({ phase: 'paused', cursor: 57 });
    expect(h.url()).toBe('/s/s1?at=57&paused=1&pace=10');
  });

  test('a paused address at nothing asks for nothing', async () => {
    const h = harness([() => {}]);
    void h.chat.open({ id: 's1', at: 0, paused: true, pace: 0 });
    await tick(1000);
    expect(h.chat.phase).toBe('paused');
    expect(h.lines).toHaveLength(0);
  });

  test('an address without a place draws all there is', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9))]);
    void h.chat.open({ id: 's1', at: undefined, paused: false, pace: 0 });
    await tick(17);
    expect(h.chat.cursor).toBe(9);
  });

  test('with a pace, history comes at once and the rest at pace', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.chat.open({ id: 's1', at: 40, paused: false, pace: 10 });
    await tick(1000);
    expect(h.lines.map((l) => l.url)).toEqual(['/v1/sessions/s1/events?after=0', '/v1/sessions/s1/events?pace=10']);
    expect(h.lines[1]!.after).toBe(40);
    expect(h.answer.text).toBe(text(2, 60));
    expect(h.chat.cut).toBeUndefined();
  });

  test('the pace changes in mid-stream, for a source without a rate', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wireRange(l.after + 1, 12))], { source: { type: 'upstream' } });
    void h.chat.open({ id: 's1', at: 9, paused: false, pace: 0 });
    await tick(100);
    h.chat.setPace(10);
    await tick(100);
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events?pace=10');
    expect(h.answer.text).toBe(text(2, 12));
    expect(h.url()).toBe('/s/s1?at=12&pace=10');
  });

  test('a session that is done, opened at its end', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], { state: 'done', last_event_id: 10 });
    void h.chat.open({ id: 's1', at: 10, paused: false, pace: 0 });
    await tick(100);
    expect(h.chat.phase).toBe('done');
    expect(h.answer.text).toBe(text(2, 9));
  });

  test('paused at the last event; 204 then tells that it is the end', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), () => new Response(null, { status: 204 })], { state: 'stopped' });
    void h.chat.open({ id: 's1', at: 9, paused: true, pace: 0 });
    await tick(100);
    h.chat.continue();
    await tick(100);
    expect(h.chat.phase).toBe('stopped');
  });

  test('a pause of the whole session is told', async () => {
    const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: paused\ndata: {}\n\n`)]);
    void h.chat.send(question);
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'live', heldBack: true, announcement: 'The session was paused for all readers at event 4' });
    h.lines[0]!.write('id: 5\nevent: resumed\ndata: {}\n\n');
    await tick(100);
    expect(h.chat.heldBack).toBe(false);
  });

  test('stop is a request of its own, and its event ends the reading', async () => {
    const h = harness([(l) => l.write(wireRange(1, 3))]);
    void h.chat.send(question);
    await tick(100);
    void h.chat.stop();
    void h.chat.stop();
    await tick(10);
    expect(h.calls.filter((c) => c.url === '/v1/sessions/s1/stop')).toHaveLength(1);
    expect(h.chat.phase).toBe('live');
    h.lines[0]!.write('id: 4\nevent: stopped\ndata: {"reason":"stopped"}\n\n');
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'stopped', why: '' });
  });

  test('a failure tells its reason, and the same can be asked again', async () => {
    const failed = 'id: 2\nevent: failed\ndata: {"reason":"error","error":{"message":"the upstream broke"}}\n\n';
    const h = harness([(l) => l.write(wire(1) + failed)]);
    void h.chat.send(question);
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'failed', why: 'The upstream broke.', announcement: 'Failed at event 2: The upstream broke.' });
    expect(h.chat.again()).toBe(true);
    await tick(100);
    const creates = h.calls.filter((c) => c.url === '/v1/sessions');
    expect(creates).toHaveLength(2);
    expect(creates[0]!.body).toMatchObject({ ...creates[1]!.body, metadata: { prompt: 'hello' } });
  });

  test('a refusal shows its detail, and the same can be asked again', async () => {
    const h = harness([], {}, () => problem(400, 'invalid_field', 'that is too long'));
    void h.chat.send(question);
    await tick();
    expect(h.chat).toMatchObject({ phase: 'refused', trouble: { title: 'The server refused', detail: 'that is too long' } });
    expect(vi.getTimerCount()).toBe(0);
    h.chat.again();
    await tick();
    expect(h.calls).toHaveLength(2);
  });

  test('a session that is not there', async () => {
    const h = harness([() => new Response(JSON.stringify({ code: 'session_not_found', detail: 'no such session' }), { status: 404 })]);
    void h.chat.open({ id: 's1', at: 5, paused: false, pace: 0 });
    await tick();
    expect(h.chat).toMatchObject({ phase: 'refused', announcement: 'Failed: There is no such session' });
    expect(h.chat.trouble).toEqual({ title: 'There is no such session', detail: '' });
  });

  test('a session that is gone when its line is back', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5)), () => problem(404, 'session_not_found', 'no such session')]);
    void h.chat.send(question);
    await tick(300);
    h.lines[0]!.reset();
    await tick(1);
    expect(h.chat.cut).toEqual({ at: 5, open: false, back: undefined });
    await tick(1000);
    expect(h.chat).toMatchObject({ phase: 'refused', cursor: 5, cut: undefined });
    expect(h.chat.trouble).toEqual({ title: 'There is no such session', detail: '' });
    expect(h.answer.text).toBe(text(2, 5));
    expect(vi.getTimerCount()).toBe(0);
  });

  test('hidden for 30 s it lets go of the line; shown again it goes on', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wireRange(l.after + 1, 12))]);
    void h.chat.send(question);
    await tick(300);
    h.chat.setVisible(false);
    await tick(29_999);
    expect(h.lines[0]!.aborted).toBe(false);
    await tick(1);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    h.chat.setVisible(true);
    await tick(300);
    expect(h.lines[1]!.after).toBe(9);
    expect(h.answer.text).toBe(text(2, 12));
    expect(h.chat.phase).toBe('live');
  });

  test('a page that is paused while hidden stays paused', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9))]);
    void h.chat.send(question);
    await tick(300);
    h.chat.setVisible(false);
    await tick(31_000);
    h.chat.pause();
    h.chat.setVisible(true);
    await tick(1000);
    expect(h.chat.phase).toBe('paused');
    expect(h.lines).toHaveLength(1);
  });

  test('hiding draws what has come, since no frame will', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))]);
    void h.chat.send(question);
    await tick(17);
    h.chat.setVisible(false);
    expect(h.chat.cursor).toBe(60);
  });

  test('what belongs to a session that was left is not drawn', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))]);
    void h.chat.send(question);
    await tick(30);
    expect(h.pending()).toBe(true);
    h.chat.leave();
    expect(h.pending()).toBe(false);
    await tick(1000);
    expect(h.pending()).toBe(false);
    expect(h.chat).toMatchObject({ phase: 'idle', cursor: 0 });
    expect(h.answer.text).toBe('');
    expect(vi.getTimerCount()).toBe(0);
  });
});

const problem = (status: number, code: string, detail: string): Response =>
  new Response(JSON.stringify({ code, detail }), { status, headers: status >= 429 ? { 'retry-after': '2' } : {} });

/** Answers that come one after the other; the last one stays, undefined is a server that is away. */
function turns(...answers: (Response | undefined)[]): () => Response {
  let n = 0;
  return () => {
    const answer = answers[Math.min(n++, answers.length - 1)];
    if (answer === undefined) throw new TypeError('connection refused');
    return answer.clone();
  };
}

describe('Chat, while the server is restarted', () => {
  const created = new Response(JSON.stringify({ id: 's1', source: { type: 'generate' } }), { status: 201 });

  for (const [code, status, title] of [
    ['overloaded', 429, 'The server is busy'],
    ['shutting_down', 503, 'The server is being restarted'],
    ['unavailable', 503, 'The server is not ready'],
    ['storage_full', 507, 'The server has no room left'],
  ] as const) {
    test(`a question is asked again by itself: ${code}`, async () => {
      const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], { sessions: [] }, turns(problem(status, code, 'because'), created));
      void h.chat.send(question);
      await tick(1999);
      expect(h.chat).toMatchObject({ phase: 'sending', trouble: { title, detail: 'because; trying again' }, announcement: `${title}: because; trying again` });
      await tick(2000);
      expect(h.chat).toMatchObject({ phase: 'done', trouble: undefined });
    });
  }

  for (const found of [true, false]) {
    test(`of a question whose answer was lost, ${found ? 'the session is found again' : 'there is no session, and it is asked again'}`, async () => {
      const h: Harness = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], {}, turns(undefined, created), (url) => {
        if (url !== '/v1/sessions') return undefined;
        const { metadata } = h.calls[0]!.body as { metadata: Record<string, string> };
        return new Response(JSON.stringify({ sessions: [{ id: 'other', metadata: {} }, ...(found ? [{ id: 's7', source: { type: 'generate' }, metadata }] : [])] }));
      });
      void h.chat.send(question);
      await tick();
      expect(h.chat).toMatchObject({ phase: 'sending', trouble: { title: 'The server cannot be reached', detail: 'it does not answer; trying again' } });
      await tick(2000);
      expect(h.chat).toMatchObject({ phase: 'done', id: found ? 's7' : 's1', trouble: undefined });
      const creates = h.calls.filter((call) => call.method === 'POST');
      expect(creates).toHaveLength(found ? 1 : 2);
      expect(creates.at(-1)!.body).toEqual(creates[0]!.body);
    });
  }

  test('a question that was left is not asked again', async () => {
    const h = harness([], {}, turns(undefined));
    void h.chat.send(question);
    await tick(100);
    h.chat.leave();
    await tick(10_000);
    expect(h.chat).toMatchObject({ phase: 'idle', trouble: undefined, announcement: '' });
    expect(h.calls).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stop is given until it is through, once, and says so meanwhile', async () => {
    const stop = turns(undefined, undefined, problem(503, 'unavailable', 'not now'), new Response('{}'));
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? stop() : undefined));
    void h.chat.send(question);
    await tick(100);
    void h.chat.stop();
    await tick();
    expect(h.chat).toMatchObject({ stopped: true, trouble: { title: 'Stop has not got through yet', detail: 'it does not answer; trying again' } });
    void h.chat.stop();
    await tick(2300);
    expect(h.chat.trouble?.detail).toBe('not now; trying again');
    await tick(10_000);
    expect(h.calls.filter((call) => call.url.endsWith('/stop'))).toHaveLength(4);
    expect(h.chat).toMatchObject({ phase: 'live', stopped: true, trouble: undefined });
    h.lines[0]!.write('id: 4\nevent: stopped\ndata: {"reason":"stop_requested"}\n\n');
    await tick(100);
    expect(h.chat.phase).toBe('stopped');
  });

  test('the end of the session ends the trouble of a stop', async () => {
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? turns(undefined)() : undefined));
    void h.chat.send(question);
    await tick(100);
    void h.chat.stop();
    await tick(10);
    h.lines[0]!.write(wireDone(4));
    await tick(5000);
    expect(h.chat).toMatchObject({ phase: 'done', trouble: undefined });
  });

  test('stop that is refused for good can be given again', async () => {
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? problem(403, 'cross_origin', 'not you') : undefined));
    void h.chat.send(question);
    await tick(100);
    void h.chat.stop();
    await tick(100);
    expect(h.chat).toMatchObject({ stopped: false, trouble: { title: 'Stop did not get through', detail: 'not you' } });
  });

  test('stop of a page that is paused, and of one that has been left', async () => {
    const stop = turns(undefined, new Response('{}'));
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? stop() : undefined));
    void h.chat.send(question);
    await tick(100);
    h.chat.pause();
    void h.chat.stop();
    await tick(10);
    h.chat.leave();
    await tick(1000);
    expect(h.calls.filter((call) => call.url === '/v1/sessions/s1/stop')).toHaveLength(2);
    expect(h.chat).toMatchObject({ phase: 'idle', stopped: false, trouble: undefined, announcement: '' });
  });

  test('an address without a place waits for the server, and can be paused meanwhile', async () => {
    for (const paused of [false, true]) {
      const state = turns(undefined, undefined, new Response(JSON.stringify({ id: 's1', state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 9 })));
      const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => (url === '/v1/sessions/s1' ? state() : undefined));
      void h.chat.open({ id: 's1', at: undefined, paused: false, pace: 0 });
      await tick();
      expect(h.chat).toMatchObject({ phase: 'reconnecting', trouble: undefined });
      if (paused) h.chat.pause();
      await tick(5000);
      expect(h.chat).toMatchObject(paused ? { phase: 'paused', cursor: 0 } : { phase: 'live', cursor: 9 });
      expect(h.lines).toHaveLength(paused ? 0 : 1);
      h.chat.leave();
    }
  });

  test('an address whose state was lost has its question in the end', async () => {
    const state = turns(undefined, new Response(JSON.stringify({ id: 's1', source: { type: 'generate' }, last_event_id: 9, metadata: { prompt: 'before' } })));
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => (url === '/v1/sessions/s1' ? state() : undefined));
    void h.chat.open({ id: 's1', at: 5, paused: false, pace: 0 });
    await tick(500);
    expect(h.chat).toMatchObject({ phase: 'live', cursor: 9, prompt: '' });
    await tick(500);
    expect(h.chat).toMatchObject({ phase: 'live', prompt: 'before' });
  });

  test('the strip tells of a line that is back and has nothing new', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5)), () => {}, (l) => l.write(wireRange(6, 7))]);
    void h.chat.send(question);
    await tick(300);
    h.lines[0]!.reset();
    await tick(1);
    expect(h.chat).toMatchObject({ phase: 'reconnecting', cut: { at: 5, open: false } });
    await tick(300);
    expect(h.chat).toMatchObject({ phase: 'live', cut: { at: 5, open: true, back: undefined } });
    h.lines[1]!.reset();
    await tick(1);
    expect(h.chat).toMatchObject({ phase: 'reconnecting', cuts: 1, cut: { at: 5, open: false } });
    await tick(1600);
    expect(h.chat).toMatchObject({ phase: 'live', cuts: 1, cut: { at: 5, back: { at: 6, missing: 0, repeated: 0 } } });
  });

  for (const how of ['online', 'visible'] as const) {
    test(`it is tried at once when the page is ${how}`, async () => {
      const h = harness([(l) => l.write(wireRange(1, 5)), () => problem(429, 'overloaded', 'full'), (l) => l.write(wireRange(6, 7))]);
      void h.chat.send(question);
      await tick(300);
      if (how === 'visible') h.chat.setVisible(false);
      h.lines[0]!.reset();
      await tick(300);
      expect(h.lines).toHaveLength(2);
      if (how === 'visible') h.chat.setVisible(true);
      else h.chat.online();
      await tick(100);
      expect(h.chat).toMatchObject({ phase: 'live', cursor: 7 });
    });
  }

  test('an answer that the restart cut short says so', async () => {
    const end = { reason: 'restart', error: { code: 'not_continuable', message: 'the relay was restarted, and so on' }, usage: {} };
    const h = harness([(l) => l.write(wireRange(1, 5)), (l) => l.write(`id: 6\nevent: interrupted\ndata: ${JSON.stringify(end)}\n\n`)]);
    void h.chat.send(question);
    await tick(300);
    h.lines[0]!.reset();
    await tick(1000);
    expect(h.answer.text).toBe(text(2, 5));
    expect(h.chat).toMatchObject({ phase: 'interrupted', trouble: undefined, end: { error: end.error } });
    expect(h.chat.announcement).toBe(`Interrupted at event 6: ${h.chat.why}`);
    expect(h.chat.why).toMatch(/^The relay was restarted in the middle of this answer/);
  });

  for (const [code, title] of [
    ['session_expired', 'This session has expired'],
    ['session_deleted', 'This session was deleted'],
    ['session_evicted', 'This session was removed to make room'],
  ] as const) {
    test(`a session that is gone: ${code}`, async () => {
      const h = harness([() => problem(410, code, 'gone')]);
      void h.chat.open({ id: 's1', at: 5, paused: false, pace: 0 });
      await tick();
      expect(h.chat).toMatchObject({ phase: 'refused', announcement: `Failed: ${title}` });
      expect(h.chat.trouble).toEqual({ title, detail: '' });
    });
  }
});

describe('Chat, when nothing comes', () => {
  const ready = new Response('{"status":"ready"}');
  const waiting = problem(503, 'unavailable', 'the store takes nothing at the moment');
  const full = problem(507, 'storage_full', 'the disk that keeps the sessions is full');

  /** A chat that has got three events and then nothing, and a count of its questions. */
  async function silence(...answers: (Response | undefined)[]): Promise<Harness & { asked: () => number }> {
    const answer = turns(...answers);
    const h = harness([(l) => l.write(wireRange(1, 3)), (l) => l.write(wire(l.after + 1))], {}, undefined, (url) => (url === '/readyz' ? answer() : undefined));
    void h.chat.send(question);
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'live', cursor: 3 });
    return { ...h, asked: () => h.calls.filter((call) => call.url === '/readyz').length };
  }

  test('for 5 s the relay is asked why, and every 5 s from then on', async () => {
    const h = await silence(ready, ready, waiting, full, full, ready);
    await tick(4800);
    expect(h.asked()).toBe(0);
    await tick(500);
    expect(h).toMatchObject({ chat: { disk: undefined } });
    expect(h.asked()).toBe(1);
    await tick(5000);
    expect(h.asked()).toBe(2);
    expect(h.chat.disk).toBeUndefined();
    await tick(5000);
    expect(h.chat).toMatchObject({ phase: 'live', disk: 'waiting', announcement: 'The relay waits for its disk; the text goes on, or ends, when the disk is back' });
    await tick(5000);
    expect(h.chat).toMatchObject({ phase: 'live', disk: 'full', announcement: 'The relay’s disk is full; the text goes on, or ends, when there is room again' });
    await tick(10_000);
    expect(h.asked()).toBe(6);
    expect(h.chat).toMatchObject({ phase: 'live', disk: undefined, announcement: 'The relay’s disk is back', trouble: undefined, cut: undefined });
  });

  test('the next event ends it, and the 5 s begin again', async () => {
    const h = await silence(waiting);
    await tick(5200);
    expect(h.chat.disk).toBe('waiting');
    h.lines[0]!.write(wire(4));
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'live', disk: undefined, cursor: 4, announcement: 'The text goes on' });
    for (let id = 5; id < 10; id++) {
      await tick(4000);
      h.lines[0]!.write(wire(id));
    }
    expect(h.asked()).toBe(1);
  });

  test('an end of its own tells why', async () => {
    const h = await silence(waiting);
    await tick(5200);
    h.lines[0]!.write('id: 4\nevent: failed\ndata: {"reason":"error","error":{"code":"storage_failed","message":"x"}}\n\n');
    await tick(100);
    expect(h.chat).toMatchObject({ phase: 'failed', disk: undefined });
    expect(h.chat.announcement).toMatch(/^Failed at event 4: The relay’s disk took nothing/);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a paused page and a paused session do not ask', async () => {
    const h = await silence(waiting);
    h.lines[0]!.write('id: 4\nevent: paused\ndata: {}\n\n');
    await tick(20_000);
    expect(h.asked()).toBe(0);
    h.lines[0]!.write('id: 5\nevent: resumed\ndata: {}\n\n');
    await tick(6000);
    expect(h.chat.disk).toBe('waiting');
    h.chat.pause();
    expect(h.chat.disk).toBeUndefined();
    await tick(20_000);
    expect(h.asked()).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a hidden page does not ask; shown, it does at once', async () => {
    const h = await silence(waiting);
    h.chat.setVisible(false);
    await tick(15_000);
    expect(h.asked()).toBe(0);
    h.chat.setVisible(true);
    await tick(250);
    expect(h.asked()).toBe(1);
  });

  test('an answer that tells nothing of the disk', async () => {
    const h = await silence(new Response(null, { status: 503 }), problem(503, 'shutting_down', 'soon'), new Response(null, { status: 404 }), waiting, undefined, undefined, new Response(null, { status: 502 }));
    await tick(15_500);
    expect(h.asked()).toBe(3);
    expect(h.chat.disk).toBeUndefined();
    await tick(15_000); // the relay is not reached: as it was
    expect(h.asked()).toBe(6);
    expect(h.chat.disk).toBe('waiting');
    await tick(5000);
    expect(h.chat.disk).toBeUndefined();
  });

  for (const [how, then] of [
    ['an event', (h: Harness) => h.lines[0]!.write(wire(4))],
    ['the loss of the line', (h: Harness) => h.lines[0]!.reset()],
    ['leaving', (h: Harness) => h.chat.leave()],
  ] as const) {
    test(`an answer that comes after ${how} is too late, and no second one is asked for meanwhile`, async () => {
      let answer: ((response: Response) => void) | undefined;
      const slow = new Promise<Response>((resolve) => (answer = resolve));
      const h = harness([(l) => l.write(wireRange(1, 3)), () => {}], {}, undefined, (url) => (url === '/readyz' ? slow : undefined));
      void h.chat.send(question);
      await tick(20_000);
      expect(h.calls.filter((call) => call.url === '/readyz')).toHaveLength(1);
      then(h);
      await tick(10);
      answer!(waiting.clone());
      await tick(1000);
      expect(h.chat.disk).toBeUndefined();
    });
  }
});

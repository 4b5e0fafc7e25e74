import { describe, expect, test, vi } from 'vitest';
import { wire, wireDone, wireRange } from '../client/testing.ts';
import { harness, inVirtualTime, problem, question, text, tick } from './harness.ts';

inVirtualTime();

describe('Reading', () => {
  test('send, to the end', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))]);
    void h.talk.send(question);
    expect(h.reading.phase).toBe('sending');
    await tick(1000);
    expect(h.calls[0]).toMatchObject({ body: { source: { type: 'generate', prompt: 'hello' }, unit: 'token', rate: 160, metadata: { prompt: 'hello' } } });
    expect(h.answer.text).toBe(text(2, 9));
    expect(h.reading.phase).toBe('done');
    expect(h.reading.announcement).toBe('Done at event 10');
    expect(h.url()).toBe('/s/s1?at=10');
    expect(h.entries()).toBe(1);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('the demo writes at its own rate, and speed is a pace of the reader, for every source', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9))]);
    void h.talk.send(question);
    await tick(100);
    expect(h.calls[0]!.body).toHaveProperty('rate', 160);
    expect(h.lines[0]!.url).toBe('/v1/sessions/s1/events?after=0');
    void h.talk.send({ ...question, speed: 120 });
    await tick(100);
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events?after=0&pace=120');
    void h.talk.send({ ...question, model: 'aimock/gpt-4o', speed: 30 });
    await tick(100);
    const body = h.calls.filter((call) => call.method === 'POST').at(-1)!.body;
    expect(body).toMatchObject({ source: { type: 'upstream', model: 'aimock/gpt-4o' } });
    expect(body).not.toHaveProperty('rate');
    expect(h.lines[2]!.url).toBe('/v1/sessions/s1/events?after=0&pace=30');
    expect(h.lines[0]!.aborted).toBe(true);
    expect(h.url()).toMatch(/pace=30/);
  });

  test('pause draws nothing more and closes the line; continue asks after the last event drawn', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 70) + wireDone(71))]);
    void h.talk.send(question);
    await tick(40);
    h.reading.pause();
    const at = h.reading.cursor;
    expect(at).toBeGreaterThan(1);
    expect(at).toBeLessThan(60);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(h.url()).toBe(`/s/s1?at=${at}&paused=1`);
    expect(h.reading.announcement).toBe(`Paused at event ${at}`);
    await tick(100_000);
    expect(h.answer.text).toBe(text(2, at));
    expect(h.lines).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(1); // to the next question of how far the session is

    h.reading.continue();
    await tick(1000);
    expect(h.lines[1]!.after).toBe(at);
    expect(h.answer.text).toBe(text(2, 70));
    expect(h.reading.phase).toBe('done');
    expect(h.url()).toBe('/s/s1?at=71');
  });

  test('a cut drops what is not drawn, and the strip tells of it', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 70) + wireDone(71))]);
    void h.talk.send(question);
    await tick(40);
    h.reading.drop();
    const at = h.reading.cursor;
    await tick(1);
    expect(h.reading.phase).toBe('reconnecting');
    expect(h.reading.cut).toEqual({ at, open: false, back: undefined });
    expect(h.answer.text).toBe(text(2, at));
    await tick(1000);
    expect(h.lines[1]!.after).toBe(at);
    expect(h.reading.cut).toMatchObject({ at, back: { at: at + 1, missing: 0, repeated: 0 } });
    expect(h.answer.text).toBe(text(2, 70));
  });

  test('lines that each break in the frame of their bytes get on', async () => {
    const h = harness([
      (l) => {
        l.write(wireRange(l.after + 1, l.after + 50));
        setTimeout(() => l.reset(), 5);
      },
    ]);
    void h.talk.send(question);
    await tick(1000);
    expect(h.lines.map((l) => l.after)).toEqual(h.lines.map((_, i) => 50 * i));
    expect(h.lines.length).toBeGreaterThan(2);
    expect(h.reading.cursor).toBe(50 * h.lines.length);
    expect(h.answer.text).toBe(text(2, h.reading.cursor));
  });

  test('of a tool call in fragments, the name is shown once', async () => {
    const fragment = (id: number, data: string): string => `id: ${id}\nevent: tool_call\ndata: ${data}\n\n`;
    const h = harness([(l) => l.write(wire(1) + fragment(2, '{"name":"f","arguments":""}') + fragment(3, '{"name":"","arguments":"{"}') + fragment(4, '{"arguments":"}"}'))]);
    void h.talk.send(question);
    await tick(500);
    expect(h.reading).toMatchObject({ cursor: 4, tools: ['f'] });
  });

  test('a pause for want of a reader, and a seam, stand between the text and nothing else', async () => {
    const pause = 'id: 6\nevent: paused\ndata: {"reason":"no_reader"}\n\n';
    const seam = 'id: 7\nevent: resumed\ndata: {"reason":"reader"}\n\nid: 8\nevent: seam\ndata: {"by":"message","offset":9}\n\n';
    const h = harness([(l) => l.write(wireRange(1, 5) + pause + seam + wireRange(9, 12))]);
    void h.talk.send(question);
    await tick(500);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 12, heldBack: false });
    expect(h.answer.text).toBe(text(2, 5) + text(9, 12));
    expect(h.answer.marks).toEqual([text(2, 5).length]);
    expect(h.reading.seams).toEqual([{ id: 8, by: 'message', characters: text(2, 5).length }]);
  });

  test('each seam is told, behind the characters drawn before it, and forgotten with its session', async () => {
    const seam = (id: number, by: string): string => `id: ${id}\nevent: seam\ndata: {"by":"${by}","offset":99}\n\n`;
    const h = harness([(l) => l.write(wire(1) + seam(2, 'anew') + wire(3, 'naïve 👩‍👧') + seam(4, 'prefill') + wire(5, '!') + seam(6, 'message') + wireDone(7))]);
    void h.talk.open({ id: 's1', at: 7, paused: false, pace: 0 });
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 7 });
    expect(h.reading.seams).toEqual([
      { id: 2, by: 'anew', characters: 0 },
      { id: 4, by: 'prefill', characters: 9 },
      { id: 6, by: 'message', characters: 10 },
    ]);
    expect(h.answer.text).toBe('naïve 👩‍👧!');
    expect(h.answer.marks).toEqual([0, 11, 12]);
    h.talk.leave();
    expect(h.reading.seams).toEqual([]);
  });

  test('what was before an opened place is no news', async () => {
    const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: paused\ndata: {}\n\nid: 5\nevent: resumed\ndata: {}\n\n${wireRange(6, 9)}`)]);
    void h.talk.open({ id: 's1', at: 9, paused: false, pace: 0 });
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 9, announcement: '' });
    h.lines[0]!.write('id: 10\nevent: paused\ndata: {}\n\n');
    await tick(100);
    expect(h.reading.announcement).toBe('The session was paused for all readers at event 10');
    h.reading.seek(3);
    h.reading.continue();
    await tick(100);
    expect(h.reading.announcement).toBe('Continued after event 3');
  });

  test('a seam is said aloud', async () => {
    const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: seam\ndata: {"by":"prefill","offset":4}\n\n`)]);
    void h.talk.send(question);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', announcement: 'Another answer of the model goes on from event 4' });
  });

  for (const [source, model] of [
    [{ type: 'upstream', model: 'aimock/gpt-4o' }, 'aimock/gpt-4o'],
    [{ type: 'generate' }, 'demo'],
    [{ type: 'push' }, ''],
  ] as const) {
    test(`the model is the session's own: ${source.type}`, async () => {
      const h = harness([(l) => l.write(wireRange(1, 9))], { source });
      void h.talk.open({ id: 's1', at: 5, paused: false, pace: 0 });
      await tick(100);
      expect(h.reading.model).toBe(model);
      h.talk.leave();
      expect(h.reading.model).toBe('');
      void h.talk.send({ ...question, model: 'gpt-4o' });
      expect(h.reading.model).toBe('gpt-4o');
      await tick(100);
      expect(h.reading.model).toBe(model); // in the server's words
    });
  }

  for (const [reason, why] of [
    ['stop_requested', 'Stop requested.'],
    ['no_reader', 'Nobody read it.'],
    ['unread_limit', 'Nobody read it, and the relay lets only so many answers go on unread, each only for so long.'],
  ] as const) {
    test(`stopped, because: ${reason}`, async () => {
      const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: stopped\ndata: {"reason":"${reason}"}\n\n`)]);
      void h.talk.open({ id: 's1', at: 4, paused: false, pace: 0 });
      await tick(100);
      expect(h.reading).toMatchObject({ phase: 'stopped', why, announcement: `Stopped at event 4: ${why}` });
    });
  }

  test('tries that fail belong to one cut', async () => {
    const gone = (): Response => new Response(null, { status: 503 });
    const h = harness([(l) => l.write(wireRange(1, 5)), gone, gone, (l) => l.write(wireRange(6, 7))]);
    void h.talk.send(question);
    await tick(300);
    h.reading.drop();
    await tick(1200);
    expect(h.reading).toMatchObject({ phase: 'reconnecting', breaks: [5], cut: { at: 5, back: undefined } });
    await tick(20_000);
    expect(h.reading).toMatchObject({ phase: 'live', breaks: [5], cut: { at: 5, back: { at: 6 } } });
  });

  test('an address draws its text and goes on', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))], { metadata: { prompt: 'before' } });
    void h.talk.open({ id: 's1', at: 57, paused: false, pace: 0 });
    await tick(17);
    expect(h.lines[0]!.url).toBe('/v1/sessions/s1/events?after=0');
    expect(h.reading.cursor).toBeGreaterThanOrEqual(57);
    await tick(500);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 60 });
    expect(h.talk.prompt).toBe('before');
    expect(h.entries()).toBe(0);
  });

  test('a paused address stays where it is', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.talk.open({ id: 's1', at: 57, paused: true, pace: 0 });
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 57 });
    expect(h.answer.text).toBe(text(2, 57));
    expect(h.lines[0]!.aborted).toBe(true);
    h.reading.continue();
    await tick(1000);
    expect(h.lines[1]!.after).toBe(57);
    expect(h.answer.text).toBe(text(2, 60));
  });

  test('a paused address with a pace is reached without it, and stands until then', async () => {
    const h = harness([(l) => l.write(wireRange(1, 30)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.talk.open({ id: 's1', at: 57, paused: true, pace: 10 });
    await tick(300);
    expect(h.lines[0]!.url).toBe('/v1/sessions/s1/events?after=0');
    expect(h.url()).not.toContain('at=30');
    h.lines[0]!.write(wireRange(31, 60));
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 57 });
    expect(h.url()).toBe('/s/s1?at=57&paused=1&pace=10');
  });

  test('a paused address at nothing asks for nothing', async () => {
    const h = harness([() => {}]);
    void h.talk.open({ id: 's1', at: 0, paused: true, pace: 0 });
    await tick(1000);
    expect(h.reading.phase).toBe('paused');
    expect(h.lines).toHaveLength(0);
  });

  test('an address without a place draws all there is', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9))]);
    void h.talk.open({ id: 's1', at: undefined, paused: false, pace: 0 });
    await tick(17);
    expect(h.reading.cursor).toBe(9);
  });

  test('with a pace, history comes at once and the rest at pace', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.talk.open({ id: 's1', at: 40, paused: false, pace: 10 });
    await tick(1000);
    expect(h.lines.map((l) => l.url)).toEqual(['/v1/sessions/s1/events?after=0', '/v1/sessions/s1/events?pace=10']);
    expect(h.lines[1]!.after).toBe(40);
    expect(h.answer.text).toBe(text(2, 60));
    expect(h.reading.cut).toBeUndefined();
  });

  test('the pace changes in mid-stream, for a source without a rate', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wireRange(l.after + 1, 12))], { source: { type: 'upstream' } });
    void h.talk.open({ id: 's1', at: 9, paused: false, pace: 0 });
    await tick(100);
    h.reading.setPace(10);
    await tick(100);
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events?pace=10');
    expect(h.answer.text).toBe(text(2, 12));
    expect(h.url()).toBe('/s/s1?at=12&pace=10');
  });

  test('a session that is done, opened at its end', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], { state: 'done', last_event_id: 10 });
    void h.talk.open({ id: 's1', at: 10, paused: false, pace: 0 });
    await tick(100);
    expect(h.reading.phase).toBe('done');
    expect(h.answer.text).toBe(text(2, 9));
  });

  test('paused at the last event; 204 then tells that it is the end', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), () => new Response(null, { status: 204 })], { state: 'stopped' });
    void h.talk.open({ id: 's1', at: 9, paused: true, pace: 0 });
    await tick(100);
    h.reading.continue();
    await tick(100);
    expect(h.reading.phase).toBe('stopped');
  });

  test('a pause of the whole session is told', async () => {
    const h = harness([(l) => l.write(`${wireRange(1, 3)}id: 4\nevent: paused\ndata: {}\n\n`)]);
    void h.talk.send(question);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', heldBack: true, announcement: 'The session was paused for all readers at event 4' });
    h.lines[0]!.write('id: 5\nevent: resumed\ndata: {}\n\n');
    await tick(100);
    expect(h.reading.heldBack).toBe(false);
  });

  test('stop is a request of its own, and its event ends the reading', async () => {
    const h = harness([(l) => l.write(wireRange(1, 3))]);
    void h.talk.send(question);
    await tick(100);
    void h.reading.stop();
    void h.reading.stop();
    await tick(10);
    expect(h.calls.filter((c) => c.url === '/v1/sessions/s1/stop')).toHaveLength(1);
    expect(h.reading.phase).toBe('live');
    h.lines[0]!.write('id: 4\nevent: stopped\ndata: {"reason":"stopped"}\n\n');
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'stopped', why: '' });
  });

  test('a failure tells its reason, and the same can be asked again', async () => {
    const failed = 'id: 2\nevent: failed\ndata: {"reason":"error","error":{"message":"the upstream broke"}}\n\n';
    const h = harness([(l) => l.write(wire(1) + failed)]);
    void h.talk.send(question);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'failed', why: 'The upstream broke.', announcement: 'Failed at event 2: The upstream broke.' });
    expect(h.talk.again()).toBe(true);
    await tick(100);
    const creates = h.calls.filter((c) => c.url === '/v1/sessions');
    expect(creates).toHaveLength(2);
    expect(creates[0]!.body).toMatchObject({ ...creates[1]!.body, metadata: { prompt: 'hello' } });
  });

  test('a refusal shows its detail, and the same can be asked again', async () => {
    const h = harness([], {}, () => problem(400, 'invalid_field', 'that is too long'));
    void h.talk.send(question);
    await tick();
    expect(h.reading).toMatchObject({ phase: 'refused', trouble: { title: 'The server refused', detail: 'that is too long' } });
    expect(vi.getTimerCount()).toBe(0);
    h.talk.again();
    await tick();
    expect(h.calls).toHaveLength(2);
  });

  test('a session that is not there', async () => {
    const h = harness([() => new Response(JSON.stringify({ code: 'session_not_found', detail: 'no such session' }), { status: 404 })]);
    void h.talk.open({ id: 's1', at: 5, paused: false, pace: 0 });
    await tick();
    expect(h.reading).toMatchObject({ phase: 'refused', announcement: 'Failed: There is no such session' });
    expect(h.reading.trouble).toEqual({ title: 'There is no such session', detail: '' });
  });

  test('a session that is gone when its line is back', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5)), () => problem(404, 'session_not_found', 'no such session')]);
    void h.talk.send(question);
    await tick(300);
    h.lines[0]!.reset();
    await tick(1);
    expect(h.reading.cut).toEqual({ at: 5, open: false, back: undefined });
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'refused', cursor: 5, cut: undefined });
    expect(h.reading.trouble).toEqual({ title: 'There is no such session', detail: '' });
    expect(h.answer.text).toBe(text(2, 5));
    expect(vi.getTimerCount()).toBe(0);
  });

  test('hidden for 30 s it lets go of the line; shown again it goes on', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wireRange(l.after + 1, 12))]);
    void h.talk.send(question);
    await tick(300);
    h.reading.setVisible(false);
    await tick(29_999);
    expect(h.lines[0]!.aborted).toBe(false);
    await tick(1);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    h.reading.setVisible(true);
    await tick(300);
    expect(h.lines[1]!.after).toBe(9);
    expect(h.answer.text).toBe(text(2, 12));
    expect(h.reading.phase).toBe('live');
  });

  test('a page that is paused while hidden stays paused', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9))]);
    void h.talk.send(question);
    await tick(300);
    h.reading.setVisible(false);
    await tick(31_000);
    h.reading.pause();
    h.reading.setVisible(true);
    await tick(1000);
    expect(h.reading.phase).toBe('paused');
    expect(h.lines).toHaveLength(1);
  });

  test('hiding draws what has come, since no frame will', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))]);
    void h.talk.send(question);
    await tick(17);
    h.reading.setVisible(false);
    expect(h.reading.cursor).toBe(60);
  });

  test('what belongs to a session that was left is not drawn', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))]);
    void h.talk.send(question);
    await tick(30);
    expect(h.pending()).toBe(true);
    h.talk.leave();
    expect(h.pending()).toBe(false);
    await tick(1000);
    expect(h.pending()).toBe(false);
    expect(h.reading).toMatchObject({ phase: 'idle', cursor: 0 });
    expect(h.answer.text).toBe('');
    expect(vi.getTimerCount()).toBe(0);
  });
});

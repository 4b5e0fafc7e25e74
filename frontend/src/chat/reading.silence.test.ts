import { describe, expect, test, vi } from 'vitest';
import { wire, wireDone, wireRange } from '../client/testing.ts';
import { harness, inVirtualTime, problem, question, text, tick, turns, type Harness } from './harness.ts';

inVirtualTime();

describe('Reading, while the server is restarted', () => {
  const created = new Response(JSON.stringify({ id: 's1', source: { type: 'generate' } }), { status: 201 });

  for (const [code, status, title] of [
    ['overloaded', 429, 'The server is busy'],
    ['shutting_down', 503, 'The server is being restarted'],
    ['unavailable', 503, 'The server is not ready'],
    ['storage_full', 507, 'The server has no room left'],
  ] as const) {
    test(`a question is asked again by itself: ${code}`, async () => {
      const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], { sessions: [] }, turns(problem(status, code, 'because'), created));
      void h.talk.send(question);
      await tick(1999);
      expect(h.reading).toMatchObject({ phase: 'sending', trouble: { title, detail: 'because; trying again' }, announcement: `${title}: because; trying again` });
      await tick(2000);
      expect(h.reading).toMatchObject({ phase: 'done', trouble: undefined });
    });
  }

  test('a question whose answer was lost is asked again as the same', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], {}, turns(undefined, problem(503, 'unavailable', 'not now'), created));
    void h.talk.send(question);
    await tick();
    expect(h.reading).toMatchObject({ phase: 'sending', trouble: { title: 'The server cannot be reached', detail: 'it does not answer; trying again' } });
    await tick(6000);
    expect(h.reading).toMatchObject({ phase: 'done', id: 's1', trouble: undefined });
    void h.talk.send(question);
    await tick(100);
    const creates = h.calls.filter((call) => call.method === 'POST');
    const [first, second, third, again] = creates;
    expect(creates).toHaveLength(4);
    expect([second, third]).toEqual([first, first]);
    expect(again!.body).toMatchObject({ source: first!.body!['source'] });
    expect(again!.key).not.toBe(first!.key);
    expect(first!.key).toMatch(/^[0-9a-f]{32}$/);
  });

  test('a question that was left is not asked again', async () => {
    const h = harness([], {}, turns(undefined));
    void h.talk.send(question);
    await tick(100);
    h.talk.leave();
    await tick(10_000);
    expect(h.reading).toMatchObject({ phase: 'idle', trouble: undefined, announcement: '' });
    expect(h.calls).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stop is given until it is through, once, and says so meanwhile', async () => {
    const stop = turns(undefined, undefined, problem(503, 'unavailable', 'not now'), new Response('{}'));
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? stop() : undefined));
    void h.talk.send(question);
    await tick(100);
    void h.reading.stop();
    await tick();
    expect(h.reading).toMatchObject({ stopped: true, trouble: { title: 'Stop has not got through yet', detail: 'it does not answer; trying again' } });
    void h.reading.stop();
    await tick(2300);
    expect(h.reading.trouble?.detail).toBe('not now; trying again');
    await tick(10_000);
    expect(h.calls.filter((call) => call.url.endsWith('/stop'))).toHaveLength(4);
    expect(h.reading).toMatchObject({ phase: 'live', stopped: true, trouble: undefined });
    h.lines[0]!.write('id: 4\nevent: stopped\ndata: {"reason":"stop_requested"}\n\n');
    await tick(100);
    expect(h.reading.phase).toBe('stopped');
  });

  test('the end of the session ends the trouble of a stop', async () => {
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? turns(undefined)() : undefined));
    void h.talk.send(question);
    await tick(100);
    void h.reading.stop();
    await tick(10);
    h.lines[0]!.write(wireDone(4));
    await tick(5000);
    expect(h.reading).toMatchObject({ phase: 'done', trouble: undefined });
  });

  test('stop that is refused for good can be given again', async () => {
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? problem(403, 'cross_origin', 'not you') : undefined));
    void h.talk.send(question);
    await tick(100);
    void h.reading.stop();
    await tick(100);
    expect(h.reading).toMatchObject({ stopped: false, trouble: { title: 'Stop did not get through', detail: 'not you' } });
  });

  test('stop of a page that is paused, and of one that has been left', async () => {
    const stop = turns(undefined, new Response('{}'));
    const h = harness([(l) => l.write(wireRange(1, 3))], {}, undefined, (url) => (url.endsWith('/stop') ? stop() : undefined));
    void h.talk.send(question);
    await tick(100);
    h.reading.pause();
    void h.reading.stop();
    await tick(10);
    h.talk.leave();
    await tick(1000);
    expect(h.calls.filter((call) => call.url === '/v1/sessions/s1/stop')).toHaveLength(2);
    expect(h.reading).toMatchObject({ phase: 'idle', stopped: false, trouble: undefined, announcement: '' });
  });

  test('an address without a place waits for the server, and can be paused meanwhile', async () => {
    for (const paused of [false, true]) {
      const state = turns(undefined, undefined, new Response(JSON.stringify({ id: 's1', state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 9 })));
      const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => (url === '/v1/sessions/s1' ? state() : undefined));
      void h.talk.open({ id: 's1', at: undefined, paused: false, pace: 0 });
      await tick();
      expect(h.reading).toMatchObject({ phase: 'reconnecting', trouble: undefined });
      if (paused) h.reading.pause();
      await tick(5000);
      expect(h.reading).toMatchObject(paused ? { phase: 'paused', cursor: 0 } : { phase: 'live', cursor: 9 });
      expect(h.lines).toHaveLength(paused ? 0 : 1);
      h.talk.leave();
    }
  });

  test('an address whose state was lost has its question in the end', async () => {
    const state = turns(undefined, new Response(JSON.stringify({ id: 's1', source: { type: 'generate' }, last_event_id: 9, metadata: { prompt: 'before' } })));
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => (url === '/v1/sessions/s1' ? state() : undefined));
    void h.talk.open({ id: 's1', at: 5, paused: false, pace: 0 });
    await tick(400);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 9 });
    expect(h.talk.prompt).toBe('');
    await tick(600);
    expect(h.talk.prompt).toBe('before');
  });

  test('the strip tells of a line that is back and has nothing new', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5)), () => {}, (l) => l.write(wireRange(6, 7))]);
    void h.talk.send(question);
    await tick(300);
    h.lines[0]!.reset();
    await tick(1);
    expect(h.reading).toMatchObject({ phase: 'reconnecting', cut: { at: 5, open: false } });
    await tick(300);
    expect(h.reading).toMatchObject({ phase: 'live', cut: { at: 5, open: true, back: undefined } });
    h.lines[1]!.reset();
    await tick(1);
    expect(h.reading).toMatchObject({ phase: 'reconnecting', breaks: [5], cut: { at: 5, open: false } });
    await tick(1600);
    expect(h.reading).toMatchObject({ phase: 'live', breaks: [5], cut: { at: 5, back: { at: 6, missing: 0, repeated: 0 } } });
  });

  for (const how of ['online', 'visible'] as const) {
    test(`it is tried at once when the page is ${how}`, async () => {
      const h = harness([(l) => l.write(wireRange(1, 5)), () => problem(429, 'overloaded', 'full'), (l) => l.write(wireRange(6, 7))]);
      void h.talk.send(question);
      await tick(300);
      if (how === 'visible') h.reading.setVisible(false);
      h.lines[0]!.reset();
      await tick(300);
      expect(h.lines).toHaveLength(2);
      if (how === 'visible') h.reading.setVisible(true);
      else h.reading.online();
      await tick(100);
      expect(h.reading).toMatchObject({ phase: 'live', cursor: 7 });
    });
  }

  test('an answer that the restart cut short says so', async () => {
    const end = { reason: 'restart', error: { code: 'not_continuable', message: 'the relay was restarted, and so on' }, usage: {} };
    const h = harness([(l) => l.write(wireRange(1, 5)), (l) => l.write(`id: 6\nevent: interrupted\ndata: ${JSON.stringify(end)}\n\n`)]);
    void h.talk.send(question);
    await tick(300);
    h.lines[0]!.reset();
    await tick(1000);
    expect(h.answer.text).toBe(text(2, 5));
    expect(h.reading).toMatchObject({ phase: 'interrupted', trouble: undefined, end: { error: end.error } });
    expect(h.reading.announcement).toBe(`Interrupted at event 6: ${h.reading.why}`);
    expect(h.reading.why).toMatch(/^The relay was restarted in the middle of this answer/);
  });

  for (const [code, title] of [
    ['session_expired', 'This session has expired'],
    ['session_deleted', 'This session was deleted'],
    ['session_evicted', 'This session was removed to make room'],
  ] as const) {
    test(`a session that is gone: ${code}`, async () => {
      const h = harness([() => problem(410, code, 'gone')]);
      void h.talk.open({ id: 's1', at: 5, paused: false, pace: 0 });
      await tick();
      expect(h.reading).toMatchObject({ phase: 'refused', announcement: `Failed: ${title}` });
      expect(h.reading.trouble).toEqual({ title, detail: '' });
    });
  }
});

describe('Reading, when nothing comes', () => {
  const ready = new Response('{"status":"ready"}');
  const waiting = problem(503, 'unavailable', 'the store takes nothing at the moment');
  const full = problem(507, 'storage_full', 'the disk that keeps the sessions is full');

  /** A chat that has got three events and then nothing, and a count of its questions. */
  async function silence(...answers: (Response | undefined)[]): Promise<Harness & { asked: () => number }> {
    const answer = turns(...answers);
    const h = harness([(l) => l.write(wireRange(1, 3)), (l) => l.write(wire(l.after + 1))], {}, undefined, (url) => (url === '/readyz' ? answer() : undefined));
    void h.talk.send(question);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 3 });
    return { ...h, asked: () => h.calls.filter((call) => call.url === '/readyz').length };
  }

  test('for 5 s the relay is asked why, and every 5 s from then on', async () => {
    const h = await silence(ready, ready, waiting, full, full, ready);
    await tick(4800);
    expect(h.asked()).toBe(0);
    await tick(500);
    expect(h).toMatchObject({ reading: { disk: undefined } });
    expect(h.asked()).toBe(1);
    await tick(5000);
    expect(h.asked()).toBe(2);
    expect(h.reading.disk).toBeUndefined();
    await tick(5000);
    expect(h.reading).toMatchObject({ phase: 'live', disk: 'waiting', announcement: 'The relay waits for its disk; the text goes on, or ends, when the disk is back' });
    await tick(5000);
    expect(h.reading).toMatchObject({ phase: 'live', disk: 'full', announcement: 'The relay’s disk is full; the text goes on, or ends, when there is room again' });
    await tick(10_000);
    expect(h.asked()).toBe(6);
    expect(h.reading).toMatchObject({ phase: 'live', disk: undefined, announcement: 'The relay’s disk is back', trouble: undefined, cut: undefined });
  });

  test('the next event ends it, and the 5 s begin again', async () => {
    const h = await silence(waiting);
    await tick(5200);
    expect(h.reading.disk).toBe('waiting');
    h.lines[0]!.write(wire(4));
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', disk: undefined, cursor: 4, announcement: 'The text goes on' });
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
    expect(h.reading).toMatchObject({ phase: 'failed', disk: undefined });
    expect(h.reading.announcement).toMatch(/^Failed at event 4: The relay’s disk took nothing/);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a paused page and a paused session do not ask', async () => {
    const h = await silence(waiting);
    h.lines[0]!.write('id: 4\nevent: paused\ndata: {}\n\n');
    await tick(20_000);
    expect(h.asked()).toBe(0);
    h.lines[0]!.write('id: 5\nevent: resumed\ndata: {}\n\n');
    await tick(6000);
    expect(h.reading.disk).toBe('waiting');
    h.reading.pause();
    expect(h.reading.disk).toBeUndefined();
    await tick(20_000);
    expect(h.asked()).toBe(1);
    expect(vi.getTimerCount()).toBe(1); // to the next question of how far the session is
  });

  test('a hidden page does not ask; shown, it does at once', async () => {
    const h = await silence(waiting);
    h.reading.setVisible(false);
    await tick(15_000);
    expect(h.asked()).toBe(0);
    h.reading.setVisible(true);
    await tick(250);
    expect(h.asked()).toBe(1);
  });

  test('an answer that tells nothing of the disk', async () => {
    const h = await silence(new Response(null, { status: 503 }), problem(503, 'shutting_down', 'soon'), new Response(null, { status: 404 }), waiting, undefined, undefined, new Response(null, { status: 502 }));
    await tick(15_500);
    expect(h.asked()).toBe(3);
    expect(h.reading.disk).toBeUndefined();
    await tick(15_000); // the relay is not reached: as it was
    expect(h.asked()).toBe(6);
    expect(h.reading.disk).toBe('waiting');
    await tick(5000);
    expect(h.reading.disk).toBeUndefined();
  });

  for (const [how, then] of [
    ['an event', (h: Harness) => h.lines[0]!.write(wire(4))],
    ['the loss of the line', (h: Harness) => h.lines[0]!.reset()],
    ['leaving', (h: Harness) => h.talk.leave()],
  ] as const) {
    test(`an answer that comes after ${how} is too late, and no second one is asked for meanwhile`, async () => {
      let answer: ((response: Response) => void) | undefined;
      const slow = new Promise<Response>((resolve) => (answer = resolve));
      const h = harness([(l) => l.write(wireRange(1, 3)), () => {}], {}, undefined, (url) => (url === '/readyz' ? slow : undefined));
      void h.talk.send(question);
      await tick(20_000);
      expect(h.calls.filter((call) => call.url === '/readyz')).toHaveLength(1);
      then(h);
      await tick(10);
      answer!(waiting.clone());
      await tick(1000);
      expect(h.reading.disk).toBeUndefined();
    });
  }
});

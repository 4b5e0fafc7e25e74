import { describe, expect, test, vi } from 'vitest';
import { wire, wireDone, wireRange } from '../client/testing.ts';
import { harness, inVirtualTime, problem, question, text, tick, type Harness } from './harness.ts';

inVirtualTime();

/** How often the state of the session was asked for. */
const asked = (h: Harness): number => h.calls.filter((call) => call.method === 'GET' && call.url === '/v1/sessions/s1').length;

describe('how far the session is, and who reads along', () => {
  test('is asked for at once of an address, and every 2.5 s from then on', async () => {
    let last = 9;
    const h = harness([(l) => l.write(wireRange(l.after + 1, 9))], {}, undefined, (url) =>
      url === '/v1/sessions/s1' ? new Response(JSON.stringify({ id: 's1', state: 'running', source: { type: 'push' }, unit: 'token', last_event_id: last, readers: 2 })) : undefined,
    );
    void h.talk.open({ id: 's1', at: 5, paused: true, pace: 0 });
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 5, head: 9, readers: 2, sourceType: 'push' });
    expect(asked(h)).toBe(1);
    last = 213;
    await tick(2500);
    expect(h.reading).toMatchObject({ cursor: 5, head: 213 });
    expect(asked(h)).toBe(2);
    await tick(5000);
    expect(asked(h)).toBe(4);
  });

  test('the events tell the head too', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))], { last_event_id: 9 });
    void h.talk.send(question);
    await tick(20);
    expect(h.reading.cursor).toBeLessThan(60);
    expect(h.reading.head).toBe(60);
  });

  test('while it is live, not once it has ended, nor of a replay', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5)), (l) => l.write(wireRange(l.after + 1, 6) + wireDone(7))], { timings: { ended: 'x' } });
    void h.talk.send(question);
    await tick(7600);
    expect(asked(h)).toBe(3);
    h.lines[0]!.write(wireRange(6, 6) + wireDone(7));
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'done', readers: 0 });
    await tick(60_000);
    expect(asked(h)).toBe(3);
    h.reading.seek(3);
    await tick(60_000);
    expect(asked(h)).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('not of a session that is known to have ended, however far behind the reader is', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5))], { state: 'done', last_event_id: 60 });
    void h.talk.open({ id: 's1', at: 5, paused: true, pace: 0 });
    await tick(60_000);
    expect(h.reading).toMatchObject({ phase: 'paused', head: 60, over: true });
    expect(asked(h)).toBe(1);
  });

  test('not while the page is hidden; at once when it is shown', async () => {
    const h = harness([(l) => l.write(wireRange(l.after + 1, 9))]);
    void h.talk.send(question);
    await tick(100);
    h.reading.setVisible(false);
    await tick(20_000);
    expect(asked(h)).toBe(0);
    h.reading.setVisible(true);
    await tick();
    expect(asked(h)).toBe(1);
    await tick(2500);
    expect(asked(h)).toBe(2);
  });

  test('never of a session that was left, and an answer that comes late is nobody’s', async () => {
    let answer: ((response: Response) => void) | undefined;
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => (url === '/v1/sessions/s1' ? new Promise<Response>((resolve) => (answer = resolve)) : undefined));
    void h.talk.send(question);
    await tick(3000);
    expect(asked(h)).toBe(1);
    h.talk.leave();
    answer!(new Response(JSON.stringify({ id: 's1', state: 'running', source: { type: 'upstream', model: 'm' }, unit: 'word', last_event_id: 99, readers: 7 })));
    await tick(10_000);
    expect(asked(h)).toBe(1);
    expect(h.reading).toMatchObject({ phase: 'idle', head: 0, readers: 0, model: '', unit: '', session: undefined });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('what fails is asked again, and one question waits for the other', async () => {
    let n = 0;
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => {
      if (url !== '/v1/sessions/s1') return undefined;
      n++;
      return n < 3 ? problem(500, 'internal_error', 'no') : new Promise<Response>(() => {});
    });
    void h.talk.send(question);
    await tick(5100);
    expect(n).toBe(2);
    expect(h.reading).toMatchObject({ phase: 'live', trouble: undefined });
    await tick(9000);
    expect(n).toBe(3);
  });

  test('an answer that does not come in ten seconds is not waited for', async () => {
    let n = 0;
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url, { signal }) =>
      url === '/v1/sessions/s1' && n++ === 0 ? new Promise<Response>((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason))) : undefined,
    );
    void h.talk.send(question);
    await tick(2500 + 9900);
    expect(n).toBe(1);
    await tick(1000);
    expect(n).toBe(2);
    await tick(2500);
    expect(n).toBe(3);
    expect(h.reading).toMatchObject({ phase: 'live', trouble: undefined });
  });

  test('readers are told of while they are asked for: none once the session is over', async () => {
    let state = 'running';
    const h = harness([(l) => l.write(wireRange(1, 5)), (l) => l.write(wireRange(1, 5))], {}, undefined, (url) =>
      url === '/v1/sessions/s1' ? new Response(JSON.stringify({ id: 's1', state, source: { type: 'push' }, unit: 'token', last_event_id: 60, readers: 2 })) : undefined,
    );
    void h.talk.open({ id: 's1', at: 0, paused: false, pace: 30 });
    await tick(100);
    expect(h.reading).toMatchObject({ over: false, readers: 2 });
    state = 'done';
    await tick(2500);
    expect(h.reading).toMatchObject({ phase: 'live', over: true, readers: 0 });
    state = 'running';
    void h.talk.open({ id: 's1', at: 0, paused: false, pace: 0 });
    await tick(100);
    expect(h.reading.readers).toBe(2);
    h.lines.at(-1)!.write(wireDone(6));
    await tick(20);
    expect(h.reading).toMatchObject({ phase: 'done', readers: 0 });
  });

  test('figures of a session that was left are nobody’s', async () => {
    let answer: ((response: Response) => void) | undefined;
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10)), () => {}], {}, undefined, (url) => (url === '/v1/sessions/s1' ? new Promise<Response>((resolve) => (answer = resolve)) : undefined));
    void h.talk.send(question);
    await tick(1000);
    expect(h.reading.phase).toBe('done');
    void h.talk.open({ id: 's2', at: 0, paused: true, pace: 0 });
    answer!(new Response(JSON.stringify({ id: 's1', state: 'done', source: { type: 'upstream', model: 'm' }, unit: 'word', last_event_id: 10 })));
    await tick(1000);
    expect(h.reading).toMatchObject({ id: 's2', phase: 'paused', unit: 'token', model: 'demo', over: false });
  });

  test('figures come with the end', async () => {
    const ended = { state: 'done', usage: { output_tokens: 120 }, timings: { first_text: '2026-11-22T00:00:00.000Z', ended: '2026-11-22T00:00:02.000Z' } };
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], ended, () => new Response(JSON.stringify({ id: 's1', state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 1 })));
    void h.talk.send(question);
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'done', head: 10, session: ended });
    expect(asked(h)).toBe(1);
  });
});

describe('stop', () => {
  const stopped = 'id: 61\nevent: stopped\ndata: {"reason":"stop_requested"}\n\n';

  test('of a reader who is behind: it pauses where it is, and Continue reads the rest', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wireRange(l.after + 1, 60) + stopped)], { state: 'stopped', last_event_id: 61 });
    void h.talk.send({ ...question, speed: 30 });
    await tick(300);
    void h.reading.stop();
    await tick(10);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 9, head: 61, stopped: true, over: true });
    expect(h.reading.announcement).toBe('Stopped for all readers; you are at event 9 of 61, and Continue reads the rest');
    expect(h.url()).toBe('/s/s1?at=9&paused=1&pace=30');
    await tick(10_000);
    expect(h.answer.text).toBe(text(2, 9));
    h.reading.continue();
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'stopped', cursor: 61 });
    expect(h.answer.text).toBe(text(2, 60));
  });

  test('of a reader who is not behind: the end comes', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))], { state: 'stopped', last_event_id: 61 });
    void h.talk.send({ ...question, speed: 30 });
    await tick(500);
    void h.reading.stop();
    await tick(10);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 60 });
    h.lines[0]!.write(stopped);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'stopped', cursor: 61, announcement: 'Stopped at event 61: Stop requested.' });
  });

  test('of a reader who has paused: it stays where it is, and knows that the session is over', async () => {
    let state = 'running';
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => {
      if (url.endsWith('/stop')) state = 'stopped';
      return url === '/v1/sessions/s1' ? new Response(JSON.stringify({ id: 's1', state, source: { type: 'generate' }, unit: 'token', last_event_id: 61 })) : undefined;
    });
    void h.talk.send(question);
    await tick(300);
    h.reading.pause();
    void h.reading.stop();
    await tick(10);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 9, over: true, announcement: 'Stopped; you are at event 9' });
    const n = h.calls.length;
    void h.reading.stop();
    await tick(10_000);
    expect(h.calls).toHaveLength(n);
  });

  test('when the page has gone elsewhere meanwhile, it pauses nothing there', async () => {
    let answer: (() => void) | undefined;
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wire(1))], { state: 'stopped', last_event_id: 61 }, undefined, (url) =>
      url.endsWith('/stop') ? new Promise<Response>((resolve) => (answer = () => resolve(new Response('{}')))) : undefined,
    );
    void h.talk.send({ ...question, speed: 30 });
    await tick(300);
    void h.reading.stop();
    await tick(10);
    void h.talk.open({ id: 's2', at: 0, paused: false, pace: 30 });
    await tick(10);
    answer!();
    await tick(1000);
    expect(h.reading).toMatchObject({ id: 's2', phase: 'live', cursor: 1, stopped: false });
  });
});

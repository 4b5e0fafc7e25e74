import { describe, expect, test, vi } from 'vitest';
import { wire, wireDone, wireRange } from '../client/testing.ts';
import { harness, inVirtualTime, question, text, tick, type Harness } from './harness.ts';

inVirtualTime();

const place = { id: 's1', at: undefined, paused: false, pace: 0 };

/** A server of `last` events, the last of them `done` if it is over. */
function server(last: number, over = true): Parameters<typeof harness>[0] {
  return [
    (l) => {
      if (over && l.after >= last) return new Response(null, { status: 204 });
      l.write(over ? wireRange(l.after + 1, last - 1) + wireDone(last) : wireRange(l.after + 1, last));
    },
  ];
}

/** Reading that is done, at event 60. */
async function done(): Promise<Harness> {
  const h = harness(server(60), { state: 'done', last_event_id: 60 });
  void h.talk.open(place);
  await tick(1000);
  expect(h.reading).toMatchObject({ phase: 'done', cursor: 60 });
  return h;
}

/** Reading that is live, at event 60. */
async function live(): Promise<Harness> {
  const h = harness(server(60, false), { last_event_id: 60 });
  void h.talk.open(place);
  await tick(1000);
  expect(h.reading).toMatchObject({ phase: 'live', cursor: 60, head: 60 });
  return h;
}

describe('seek', () => {
  test('back, from the line: at once, without a request, and the line is let go', async () => {
    const h = await live();
    h.reading.seek(20);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 20, head: 60, seeking: undefined, announcement: 'Paused at event 20' });
    expect(h.answer.text).toBe(text(2, 20));
    expect(h.lines[0]!.aborted).toBe(true);
    expect(h.url()).toBe('/s/s1?at=20&paused=1');
    expect(h.entries()).toBe(0);
    await tick(1000);
    expect(h.lines).toHaveLength(1);
    expect(h.answer.text).toBe(text(2, 20));
  });

  test('back, then Continue: exactly the next event', async () => {
    const h = await live();
    h.reading.seek(20);
    h.reading.continue();
    await tick(1000);
    expect(h.lines.map((l) => l.after)).toEqual([0, 20]);
    expect(h.answer.text).toBe(text(2, 60));
    expect(h.answer.ids).toEqual(Array.from({ length: 59 }, (_, i) => i + 2));
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 60, breaks: [] });
  });

  test('forth within what is kept: without a request', async () => {
    const h = await live();
    h.reading.seek(20);
    h.reading.seek(45);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 45, announcement: '' }); // the scrubber itself has said it
    expect(h.answer.text).toBe(text(2, 45));
    expect(h.answer.replaced).toBe(1);
    expect(h.url()).toBe('/s/s1?at=45&paused=1');
    await tick(1000);
    expect(h.lines).toHaveLength(1);
  });

  test('forth past what is kept: reads up to there at full speed, and pauses', async () => {
    const h = harness([(l) => l.write(wireRange(1, 20)), (l) => l.write(wireRange(l.after + 1, 60))], { last_event_id: 60 });
    void h.talk.open({ ...place, at: 20, paused: true, pace: 10 });
    await tick(1000);
    h.reading.seek(40);
    expect(h.reading).toMatchObject({ phase: 'connecting', cursor: 20, seeking: 40 });
    expect(h.url()).toBe('/s/s1?at=20&paused=1&pace=10');
    await tick(100);
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events');
    expect(h.lines[1]!.after).toBe(20);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 40, seeking: undefined });
    expect(h.answer.text).toBe(text(2, 40));
    expect(h.lines[1]!.aborted).toBe(true);
    expect(h.url()).toBe('/s/s1?at=40&paused=1&pace=10');
  });

  test('forth, from a paced line that is behind', async () => {
    const h = harness([(l) => l.write(wireRange(1, 5)), (l) => l.write(wireRange(l.after + 1, 60))], { last_event_id: 60 });
    void h.talk.send({ ...question, speed: 10 });
    await tick(2600);
    h.reading.seek(40);
    await tick(100);
    expect(h.lines.map((l) => l.url)).toEqual(['/v1/sessions/s1/events?after=0&pace=10', '/v1/sessions/s1/events']);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 40, announcement: 'Paused at event 40' });
    expect(h.answer.text).toBe(text(2, 40));
  });

  test('forth, into what the line has brought and is not drawn', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60))], { last_event_id: 60 });
    void h.talk.send(question);
    await tick(20);
    expect(h.reading.cursor).toBeLessThan(30);
    h.reading.seek(50);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 50 });
    expect(h.answer.text).toBe(text(2, 50));
    await tick(1000);
    expect(h.lines).toHaveLength(1);
  });

  test('elsewhere while it reads up to a place', async () => {
    const h = harness([(l) => l.write(wireRange(1, 20)), (l) => l.write(wireRange(l.after + 1, 30)), (l) => l.write(wireRange(l.after + 1, 60))], { last_event_id: 60 });
    void h.talk.open({ ...place, at: 20, paused: true });
    await tick(1000);
    h.reading.seek(50);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 30, seeking: 50 });
    h.reading.seek(40); // nearer: the same line brings it
    h.lines[1]!.write(wireRange(31, 45));
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 40 });
    h.reading.seek(60);
    h.reading.seek(10);
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 10, seeking: undefined });
    expect(h.answer.text).toBe(text(2, 10));
    expect(h.lines.length).toBeLessThanOrEqual(3);
  });

  test('a scrubber that is dragged makes no request for each place', async () => {
    const h = harness([(l) => l.write(wireRange(1, 100)), (l) => l.write(wireRange(l.after + 1, 1000))], { last_event_id: 1000 });
    void h.talk.open({ ...place, at: 100, paused: true });
    await tick(1000);
    for (let id = 100; id >= 0; id--) h.reading.seek(id);
    expect(h.reading.cursor).toBe(0);
    for (let id = 0; id <= 100; id++) h.reading.seek(id);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 100 });
    expect(h.answer.text).toBe(text(2, 100));
    expect(h.lines).toHaveLength(1);
    for (let id = 101; id <= 160; id++) {
      h.reading.seek(id);
      await tick(10); // 600 ms in all
    }
    await tick(200);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 160 });
    expect(h.answer.text).toBe(text(2, 160));
    expect(h.lines.length).toBeLessThanOrEqual(1 + 600 / 150 + 1);
    for (let i = 0; i < 50; i++) {
      h.reading.seek(170 + i);
      h.reading.seek(10);
    }
    h.reading.seek(500);
    await tick(200);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 500 });
    expect(h.answer.text).toBe(text(2, 500));
    expect(h.lines.length).toBeLessThanOrEqual(8);
  });

  test('a place that is out of bounds is the nearest', async () => {
    const h = await live();
    h.reading.seek(-5);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 0 });
    expect(h.answer.text).toBe('');
    h.reading.seek(1000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 60 });
    h.reading.seek(20.9);
    expect(h.reading.cursor).toBe(20);
  });

  test('where there is nothing to read, it does nothing', async () => {
    const h = harness([], {}, () => new Response(null, { status: 400 }));
    h.reading.seek(5);
    h.reading.step();
    expect(h.reading.phase).toBe('idle');
    void h.talk.send(question);
    h.reading.seek(5);
    await tick(100);
    h.reading.seek(5);
    h.reading.step();
    expect(h.reading.phase).toBe('refused');
    expect(h.lines).toHaveLength(0);
  });

  test('with the line lost, the loss is forgotten', async () => {
    const h = await live();
    h.lines[0]!.reset();
    await tick(1);
    expect(h.reading).toMatchObject({ phase: 'reconnecting', breaks: [60] });
    h.reading.seek(20);
    await tick(5000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 20, cut: undefined, breaks: [60] });
    expect(h.lines).toHaveLength(1);
  });

  test('what stands beside the text is that of the place', async () => {
    const seam = 'id: 4\nevent: seam\ndata: {"by":"prefill","offset":4}\n\n';
    const tool = 'id: 6\nevent: tool_call\ndata: {"name":"f","arguments":"{}"}\n\n';
    const thought = 'id: 2\nevent: reasoning\ndata: {"text":"hm"}\n\n';
    const h = harness([(l) => l.write(wire(1) + thought + wire(3) + seam + wire(5) + tool + wire(7))], { last_event_id: 7 });
    void h.talk.open(place);
    await tick(100);
    const at = (id: number): unknown => {
      h.reading.seek(id);
      const { reasoned, tools, seams } = h.reading;
      return [h.answer.text, h.reasoning.text, reasoned, tools.length, seams.map((seam) => seam.id), h.answer.marks];
    };
    expect(at(1)).toEqual(['', '', false, 0, [], []]);
    expect(at(7)).toEqual([' 3 5 7', 'hm', true, 1, [4], [2]]);
    expect(at(5)).toEqual([' 3 5', 'hm', true, 0, [4], [2]]);
    expect(at(3)).toEqual([' 3', 'hm', true, 0, [], []]);
    expect(at(4)).toEqual([' 3', 'hm', true, 0, [4], [2]]);
  });

  test('what was kept before a seek and comes again is kept once', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), (l) => l.write(wireRange(6, 14)), () => {}], { last_event_id: 14 });
    void h.talk.open({ ...place, at: 0 });
    await tick(2000);
    h.reading.seek(5);
    h.reading.continue();
    await tick(2000);
    h.reading.seek(11);
    expect(h.answer.text).toBe(text(2, 11));
    expect(h.lines).toHaveLength(2);
  });

  test('moves the address soon, not at each of a drag’s places; a pause by the button does at once', async () => {
    const h = await live();
    h.reading.seek(20);
    expect([h.url(), h.pending()]).toEqual(['/s/s1?at=20&paused=1', true]);
    h.reading.seek(60);
    expect([h.url(), h.pending()]).toEqual(['/s/s1?at=60&paused=1', true]);
    h.reading.continue();
    expect([h.url(), h.pending()]).toEqual(['/s/s1?at=60', false]);
    h.reading.pause();
    expect([h.url(), h.pending()]).toEqual(['/s/s1?at=60&paused=1', false]);
  });

  test('onto the end and off it, the address is no less paced', async () => {
    const h = await done();
    for (const id of [20, 60, 30, 60]) {
      h.reading.seek(id);
      expect(h.pending()).toBe(true);
    }
  });

  test('a pause brings all of a long text’s attribute up to date', async () => {
    const h = await live();
    const sync = vi.spyOn(h.answer, 'sync');
    h.reading.pause();
    expect(sync).toHaveBeenCalledOnce();
  });
});

describe('after the end', () => {
  test('a seek back pauses there, and onto the end it is done again', async () => {
    const h = await done();
    const asked = h.calls.length;
    h.reading.seek(20);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 20, head: 60, over: true, end: undefined, announcement: 'Paused at event 20' });
    expect(h.answer.text).toBe(text(2, 20));
    h.reading.seek(60);
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 60, announcement: 'Done at event 60', end: { outcome: 'done' } });
    expect(h.answer).toMatchObject({ text: text(2, 59), ends: 2 });
    expect(h.url()).toBe('/s/s1?at=60');
    await tick(10_000);
    expect(h.lines).toHaveLength(1);
    expect(h.calls.filter((call) => call.url === '/v1/sessions/s1').length - asked).toBeLessThanOrEqual(2); // for figures, of which this server has none
    expect(vi.getTimerCount()).toBe(0);
  });

  test('Continue replays the rest, at the pace', async () => {
    const h = await done();
    h.reading.seek(20);
    h.reading.setPace(30);
    h.reading.continue();
    await tick(1000);
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events?pace=30');
    expect(h.lines[1]!.after).toBe(20);
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 60 });
    expect(h.answer.text).toBe(text(2, 59));
    expect(h.reading.announcement).toBe('Done at event 60');
    expect(h.entries()).toBe(0);
  });

  test('a replay at full speed is drawn as it would be of a live answer, and has a rate', async () => {
    const h = await done();
    h.reading.seek(1);
    h.reading.continue();
    await tick(40);
    expect(h.reading.cursor).toBeGreaterThan(1);
    expect(h.reading.cursor).toBeLessThan(50);
    h.reading.pause();
    h.reading.seek(40);
    h.reading.seek(1);
    h.reading.continue();
    await tick(20);
    expect(h.reading.cursor).toBeLessThan(40);
  });

  test('and again from the start, more than once', async () => {
    const h = await done();
    for (let i = 0; i < 3; i++) {
      h.reading.seek(0);
      h.reading.continue();
      await tick(1000);
      expect(h.reading).toMatchObject({ phase: 'done', cursor: 60, breaks: [] });
      expect(h.answer.text).toBe(text(2, 59));
    }
    expect(h.lines.map((l) => l.after)).toEqual([0, 0, 0, 0]);
  });

  test('with an end that only 204 told of', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9)), () => new Response(null, { status: 204 })], { state: 'stopped' });
    void h.talk.open({ ...place, at: 9, paused: true });
    await tick(100);
    h.reading.continue();
    await tick(100);
    expect(h.reading.phase).toBe('stopped');
    h.reading.seek(5);
    expect(h.reading.phase).toBe('paused');
    h.reading.seek(9);
    expect(h.reading).toMatchObject({ phase: 'stopped', cursor: 9 });
    h.reading.seek(8);
    h.reading.step();
    expect(h.reading).toMatchObject({ phase: 'stopped', cursor: 9 });
    expect(h.lines).toHaveLength(2);
  });

  test('a 204 that comes after a seek ends nothing', async () => {
    let answer: ((response: Response) => void) | undefined;
    const h = harness([(l) => l.write(wireRange(1, 9)), () => new Response(null, { status: 204 })], {}, undefined, (url) =>
      url === '/v1/sessions/s1' && h.lines.length === 2 ? new Promise<Response>((resolve) => (answer = resolve)) : undefined,
    );
    void h.talk.open({ ...place, at: 9, paused: true });
    await tick(100);
    h.reading.continue();
    await tick(10);
    h.reading.seek(5);
    answer!(new Response(JSON.stringify({ id: 's1', state: 'stopped', source: { type: 'generate' }, unit: 'token', last_event_id: 9 })));
    await tick(10);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 5 });
  });
});

describe('step', () => {
  test('behind the head: one event more, and the line is let go', async () => {
    const h = harness(server(60, false), { last_event_id: 60 });
    void h.talk.open({ ...place, at: 20, paused: true });
    await tick(100);
    for (let id = 21; id <= 25; id++) {
      h.reading.step();
      await tick(20);
      expect(h.reading).toMatchObject({ phase: 'paused', cursor: id, announcement: `At event ${id}` });
      expect(h.answer.text).toBe(text(2, id));
      expect(h.lines.at(-1)!.aborted).toBe(true);
      expect(h.url()).toBe(`/s/s1?at=${id}&paused=1`);
    }
  });

  test('within what is kept: without a request', async () => {
    const h = await done();
    h.reading.seek(20);
    h.reading.step();
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 21, announcement: 'At event 21' });
    h.reading.seek(59);
    h.reading.step();
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 60 });
    h.reading.step();
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 60 });
    expect(h.lines).toHaveLength(1);
  });

  test('at the head: it waits for the next event, however often it is pressed', async () => {
    const h = await live();
    h.reading.pause();
    h.reading.step();
    h.reading.step();
    await tick(5000);
    h.reading.step();
    await tick(10);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 60, seeking: 61 });
    expect(h.lines).toHaveLength(2);
    h.lines[1]!.write(wireRange(61, 70));
    await tick(20);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 61 });
    expect(h.answer.text).toBe(text(2, 61));
    expect(h.lines[1]!.aborted).toBe(true);
  });

  test('at the head, and paused meanwhile: nothing comes', async () => {
    const h = await live();
    h.reading.pause();
    h.reading.step();
    await tick(10);
    h.reading.pause();
    h.lines[1]!.write(wire(61));
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 60, seeking: undefined });
  });

  test('of a line that is open: it pauses at the next event', async () => {
    const h = await live();
    h.reading.step();
    h.lines[0]!.write(wireRange(61, 65));
    await tick(20);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 61 });
    expect(h.lines).toHaveLength(1);
  });

  test('as a speed: a question waits for the first press, and a pace leaves it', async () => {
    const h = harness(server(60));
    void h.talk.send({ ...question, speed: 'step' });
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 0, stepping: true });
    expect(h.url()).toBe('/s/s1?at=0&paused=1');
    expect(h.lines).toHaveLength(0);
    h.reading.step();
    await tick(20);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 1, stepping: true });
    h.reading.setSpeed(30);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 1, stepping: false, pace: 30 });
    h.reading.continue();
    await tick(20);
    expect(h.lines.at(-1)!.url).toContain('pace=30');
    h.reading.setSpeed('step');
    expect(h.reading).toMatchObject({ phase: 'paused', stepping: true, pace: 30 });
    expect(h.lines.at(-1)!.aborted).toBe(true);
    h.reading.setPace(0);
    expect(h.reading.stepping).toBe(false);
  });
});

describe('speed', () => {
  test('of a line: it is asked for anew after the last event drawn', async () => {
    const h = harness([(l) => l.write(wireRange(1, 60)), (l) => l.write(wireRange(l.after + 1, 60))]);
    void h.talk.send(question);
    await tick(40);
    const at = h.reading.cursor;
    expect(at).toBeLessThan(60);
    h.reading.setPace(30);
    expect(h.reading.cursor).toBe(at);
    await tick(1000);
    expect(h.lines.map((l) => [l.after, l.url.includes('pace=30')])).toEqual([
      [0, false],
      [at, true],
    ]);
    expect(h.answer.text).toBe(text(2, 60));
    expect(h.reading).toMatchObject({ breaks: [], cut: undefined });
    h.reading.setPace(30);
    await tick(100);
    expect(h.lines).toHaveLength(2);
  });

  test('while paused: nothing is asked for, and Continue has it', async () => {
    const h = await live();
    h.reading.pause();
    h.reading.setPace(120);
    await tick(1000);
    expect(h.lines).toHaveLength(1);
    expect(h.url()).toBe('/s/s1?at=60&paused=1&pace=120');
    h.reading.continue();
    await tick(10);
    expect(h.lines[1]!.url).toBe('/v1/sessions/s1/events?pace=120');
  });

  test('while it reads up to a place: full speed until then', async () => {
    const h = harness([(l) => l.write(wireRange(1, 20)), (l) => l.write(wireRange(l.after + 1, 60))], { last_event_id: 60 });
    void h.talk.open({ ...place, at: 40, pace: 10 });
    await tick(10);
    h.reading.setPace(20);
    await tick(100);
    expect(h.lines).toHaveLength(1);
    h.lines[0]!.write(wireRange(21, 45));
    await tick(100);
    expect(h.lines.map((l) => l.url)).toEqual(['/v1/sessions/s1/events?after=0', '/v1/sessions/s1/events?pace=20']);
    expect(h.lines[1]!.after).toBe(40);
  });

  test('with the line lost: the next line has it, and the cut is not told as one being mended', async () => {
    const h = await live();
    h.lines[0]!.reset();
    await tick(1);
    h.reading.setPace(30);
    await tick(500);
    expect(h.lines[1]!.url).toContain('pace=30');
    expect(h.reading).toMatchObject({ phase: 'live', cut: undefined, breaks: [60] });
  });

  test('after the end: it is kept, and in the address', async () => {
    const h = await done();
    h.reading.setPace(30);
    expect(h.reading.phase).toBe('done');
    expect(h.url()).toBe('/s/s1?at=60&pace=30');
    await tick(1000);
    expect(h.lines).toHaveLength(1);
  });
});

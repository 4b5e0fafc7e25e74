import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Follow, type FollowOptions } from './follow.ts';
import { first, LAST, live, LONG, range, refuse, run, serve, tick, type Run } from './follow.harness.ts';
import { script, wireRange, type Answer, type Line } from './testing.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const silent: Answer = () => new Promise<Response>(() => {});
const broken: Answer = (line) => {
  line.write(wireRange(1, 4));
  setTimeout(() => line.reset(), 10);
};

interface State {
  name: string;
  /** What comes before the line that serves all. */
  answers: Answer[];
  options?: FollowOptions;
  cursor: number;
  ended?: boolean;
}

const states: State[] = [
  { name: 'connecting', answers: [silent], cursor: 0 },
  { name: 'open', answers: [first], cursor: 4 },
  { name: 'between two tries', answers: [broken, refuse(503, { 'retry-after': '60' })], cursor: 4 },
  { name: 'after the terminal event', answers: [serve(LAST)], cursor: LAST, ended: true },
  { name: 'after nothing more', answers: [serve(LAST)], options: { after: LAST }, cursor: LAST, ended: true },
  { name: 'after a refusal', answers: [broken, refuse(404)], cursor: 4, ended: true },
  {
    name: 'after an error of the caller',
    answers: [first],
    options: {
      onEvent: (event) => {
        if (event.id === 4) throw new Error('mine');
      },
    },
    cursor: 4,
    ended: true,
  },
];

/** A Follow that has come to the state; from then on its callbacks tell of what comes after. */
async function enter(state: State): Promise<{ r: Run; lines: Line[] }> {
  const { request, lines } = script(...state.answers, serve(LAST));
  const { onEvent } = state.options ?? {};
  let entered = false;
  const r = run(request, { ...state.options, onEvent: (event) => void (entered || onEvent?.(event)) });
  await tick(1000);
  entered = true;
  expect(r.follow.cursor).toBe(state.cursor);
  expect(r.ends).toHaveLength(state.ended ? 1 : 0);
  r.ids.length = r.statuses.length = r.ends.length = 0;
  return { r, lines };
}

describe('pause, resume, seek and setPace', () => {
  for (const state of states) {
    describe(state.name, () => {
      test('pause lets go and asks for nothing; resume goes on after the cursor', async () => {
        const { r, lines } = await enter(state);
        const asked = lines.length;
        r.follow.pause();
        r.follow.pause();
        expect(r.follow.paused).toBe(true);
        expect(live(lines)).toEqual([]);
        await tick();
        expect(vi.getTimerCount()).toBe(0);
        r.follow.wake();
        await tick(LONG);
        expect(lines).toHaveLength(asked);
        expect([r.ids, r.ends, r.statuses]).toEqual([[], [], []]);

        r.follow.resume();
        r.follow.resume();
        expect(r.follow.paused).toBe(false);
        await tick(LONG);
        expect(r.ids).toEqual(state.ended ? [] : range(state.cursor + 1, LAST));
        expect(r.types()).toEqual(state.ended ? [] : ['connecting', 'open']);
        expect(r.ends).toMatchObject(state.ended ? [] : [{ type: 'terminal' }]);
      });

      for (const [where, after] of [
        ['back', 2],
        ['forth', 7],
        ['to where it is', state.cursor],
      ] as const) {
        test(`seek ${where} reads on from there, and is no loss`, async () => {
          const { r, lines } = await enter(state);
          const asked = lines.length;
          r.follow.seek(after);
          expect(r.follow.cursor).toBe(after);
          await tick();
          expect(lines[asked]!.after).toBe(after);
          expect(r.ids).toEqual(range(after + 1, LAST));
          await tick(LONG);
          expect(lines).toHaveLength(asked + 1);
          expect(r.types()).toEqual(after === LAST ? ['connecting'] : ['connecting', 'open']);
          expect(r.statuses[0]).toEqual({ type: 'connecting', after, attempt: 0 });
          expect(r.ends).toMatchObject([{ type: after === LAST ? 'nothing-more' : 'terminal' }]);
          expect(vi.getTimerCount()).toBe(0);
        });
      }

      test('seek while paused waits for resume', async () => {
        const { r, lines } = await enter(state);
        const asked = lines.length;
        r.follow.pause();
        r.follow.seek(6);
        r.follow.seek(2);
        await tick(LONG);
        expect(lines).toHaveLength(asked);
        expect([r.ids, r.ends]).toEqual([[], []]);
        r.follow.resume();
        await tick(LONG);
        expect(r.ids).toEqual(range(3, LAST));
        expect(lines).toHaveLength(asked + 1);
        expect(r.ends).toHaveLength(1);
      });

      test('closed is final', async () => {
        const { r, lines } = await enter(state);
        const asked = lines.length;
        r.follow.close();
        await tick();
        const ends = r.ends.length;
        expect(ends).toBe(state.ended ? 0 : 1);
        r.follow.seek(2);
        r.follow.pause();
        r.follow.resume();
        r.follow.setPace(5);
        r.follow.wake();
        r.follow.cut();
        r.follow.close();
        await tick(LONG);
        expect(lines).toHaveLength(asked);
        expect(r.ids).toEqual([]);
        expect(r.ends).toHaveLength(ends);
        expect(vi.getTimerCount()).toBe(0);
      });

      test('closed while paused', async () => {
        const { r } = await enter(state);
        r.follow.pause();
        r.follow.close();
        await tick(LONG);
        expect(r.ends).toEqual(state.ended ? [] : [{ type: 'closed' }]);
      });
    });
  }

  test('before the first line, all take effect at once', async () => {
    const { request, lines } = script(serve(LAST));
    const r = run(request);
    r.follow.pause();
    r.follow.seek(4);
    r.follow.setPace(7);
    await tick(LONG);
    expect(lines).toEqual([]);
    r.follow.resume();
    await tick();
    expect(lines.map((line) => line.url)).toEqual(['/v1/sessions/s1/events?pace=7']);
    expect(r.ids).toEqual(range(5, LAST));
  });

  for (const name of ['connecting', 'open']) {
    test(`setPace asks anew when it differs: ${name}`, async () => {
      const state = states.find((s) => s.name === name)!;
      const { r, lines } = await enter(state);
      const asked = lines.length;
      r.follow.setPace(0);
      await tick();
      expect(lines).toHaveLength(asked);
      r.follow.setPace(5);
      await tick();
      expect(lines).toHaveLength(asked + 1);
      expect(lines[asked]!.after).toBe(state.cursor);
      expect(lines[asked]!.url).toContain('pace=5');
      expect(r.types()).toEqual(['connecting', 'open']);
      expect(r.ids).toEqual(range(state.cursor + 1, LAST));
    });
  }

  test('setPace between two tries waits for the next, and the loss is told', async () => {
    const { r, lines } = await enter(states.find((s) => s.name === 'between two tries')!);
    const asked = lines.length;
    r.follow.setPace(5);
    await tick(58_000);
    expect(lines).toHaveLength(asked);
    await tick(2000);
    expect(lines[asked]!.url).toContain('pace=5');
    expect(r.types()).toEqual(['connecting', 'open', 'back']);
    expect(r.statuses.at(-1)).toMatchObject({ cut: 4, back: 5, missing: 0, repeated: 0 });
  });

  test('setPace after the end is for the line that a seek asks for', async () => {
    const { r, lines } = await enter(states.find((s) => s.name === 'after the terminal event')!);
    const asked = lines.length;
    r.follow.setPace(5);
    await tick(LONG);
    expect(lines).toHaveLength(asked);
    r.follow.seek(0);
    await tick();
    expect(lines[asked]!.url).toBe('/v1/sessions/s1/events?after=0&pace=5');
  });

  test('setPace back to 0 asks for events as they come', async () => {
    const { request, lines } = script(first, serve(LAST));
    const r = run(request, { pace: 5 });
    await tick();
    r.follow.setPace(0);
    await tick();
    expect(lines.map((line) => line.url)).toEqual(['/v1/sessions/s1/events?after=0&pace=5', '/v1/sessions/s1/events']);
  });

  test('a thousand seeks at once are one request', async () => {
    const { request, lines } = script(first, serve(LAST));
    const r = run(request);
    await tick();
    for (let i = 0; i < 1000; i++) r.follow.seek(i % LAST);
    r.follow.seek(3);
    await tick();
    expect(lines.map((line) => line.after)).toEqual([0, 3]);
    expect(r.ids).toEqual([1, 2, 3, 4, ...range(4, LAST)]);
  });

  test('of many seeks, one after the other, each lets go of the line before', async () => {
    const { request, lines } = script(silent);
    const r = run(request);
    for (let i = 0; i < 50; i++) {
      r.follow.seek(i % LAST);
      expect(live(lines)).toHaveLength(0);
      await tick();
      expect(live(lines)).toHaveLength(1);
    }
    r.follow.close();
    expect(live(lines)).toHaveLength(0);
    expect(r.types().filter((type) => type !== 'connecting')).toEqual([]);
  });

  test('an answer that comes after a seek is not looked at, though nobody heeded the signal', async () => {
    const { request } = script(serve(LAST));
    let late: (() => void) | undefined;
    const r = run((url, init) => {
      const { signal: _, ...deaf } = init;
      if (late !== undefined) return request(url, deaf);
      return new Promise((resolve) => (late = () => resolve(request(url, deaf))));
    });
    await tick();
    r.follow.seek(6);
    late?.();
    await tick();
    expect(r.ids).toEqual([7, 8, 9]);
    expect(r.types()).toEqual(['connecting', 'connecting', 'open']);
  });

  test('a body is let go of, though nobody heeded the signal', async () => {
    const cancel = vi.fn();
    const r = run(async () => new Response(new ReadableStream({ cancel }), { headers: { 'content-type': 'text/event-stream' } }));
    await tick();
    r.follow.pause();
    await tick();
    expect(cancel).toHaveBeenCalledOnce();
    expect(r.ends).toEqual([]);
  });

  for (const [when, meanwhile] of [
    ['a pause', (r) => r.follow.pause()],
    ['a close', (r) => r.follow.close()],
    ['a seek', (r) => r.follow.seek(2)],
    ['too long a silence', () => tick(60_000)],
  ] as [string, (r: Run) => unknown][]) {
    test(`a response that comes after ${when} is let go of, though nobody heeded the signal`, async () => {
      const cancel = vi.fn();
      const late: ((response: Response) => void)[] = [];
      const r = run(() => new Promise((resolve) => late.push(resolve)));
      await tick();
      await meanwhile(r);
      late[0]!(new Response(new ReadableStream({ cancel }), { headers: { 'content-type': 'text/event-stream' } }));
      await tick();
      expect(cancel).toHaveBeenCalledOnce();
      expect(r.ids).toEqual([]);
      r.follow.close();
    });
  }

  test('so is a response that a callback does not want', async () => {
    const cancel = vi.fn();
    const r: Run = run(async () => new Response(new ReadableStream({ cancel }), { headers: { 'content-type': 'text/event-stream' } }), {
      onActivity: () => r.follow.pause(),
    });
    await tick();
    expect(cancel).toHaveBeenCalledOnce();
    expect(r.types()).toEqual(['connecting']);
  });

  test('so is one of which only the head is of use', async () => {
    const cancel = vi.fn();
    const r = run(async () => new Response(new ReadableStream({ cancel }), { headers: { 'content-type': 'text/html' } }));
    await tick();
    expect(cancel).toHaveBeenCalledOnce();
    expect(r.ends).toMatchObject([{ type: 'error', error: { name: 'ProtocolError' } }]);
  });

  test('the cursor callback is asked for losses alone', async () => {
    const { request } = script(first, first, first, serve(LAST));
    const cursor = vi.fn(() => 0);
    const r = run(request, { cursor });
    await tick();
    r.follow.setPace(5);
    await tick();
    r.follow.pause();
    r.follow.resume();
    await tick();
    r.follow.seek(1);
    await tick();
    expect(cursor).not.toHaveBeenCalled();
    expect(r.ends).toHaveLength(1);
  });

  test('a seek from within the cursor callback wins over what that returns', async () => {
    const { request, lines } = script(broken, serve(LAST));
    const r: Run = run(request, {
      cursor: () => {
        r.follow.seek(6);
        return 1;
      },
    });
    await tick(LONG);
    expect(lines.map((line) => line.after)).toEqual([0, 6]);
    expect(r.ids).toEqual([1, 2, 3, 4, 7, 8, 9]);
    expect(r.types()).toEqual(['connecting', 'open', 'connecting', 'open']);
  });

  test('a seek from within the cursor callback wins, though that returns more than was delivered before', async () => {
    const { request } = script(broken, serve(LAST));
    const r: Run = run(request, {
      cursor: () => {
        r.follow.seek(6);
        return 6;
      },
    });
    await tick(LONG);
    expect(r.ids).toEqual([1, 2, 3, 4, 7, 8, 9]);
    expect(r.ends).toMatchObject([{ type: 'terminal' }]);
  });

  for (const after of [5, 1e6, -1, 1.5, NaN]) {
    test(`a cursor callback that returns ${after} behind event 4 ends the reading`, async () => {
      const { request, lines } = script(broken, serve(LAST));
      const r = run(request, { cursor: () => after });
      await tick(LONG);
      expect(r.ids).toEqual([1, 2, 3, 4]);
      expect(r.ends).toMatchObject([{ type: 'error', error: { name: 'RangeError' } }]);
      expect(r.follow.cursor).toBe(4);
      expect(lines).toHaveLength(1);
    });
  }

  for (const after of [0, 4]) {
    test(`a cursor callback that returns ${after} behind event 4 has what comes after that`, async () => {
      const { request } = script(broken, serve(LAST));
      const r = run(request, { cursor: () => after });
      await tick(LONG);
      expect(r.ids).toEqual([1, 2, 3, 4, ...range(after + 1, LAST)]);
    });
  }

  test('a pause forgets a loss, and the tries in vain', async () => {
    const { request } = script(broken, refuse(503), serve(LAST));
    const r = run(request, { maxAttempts: 2 });
    await tick(300);
    expect(r.types().at(-1)).toBe('lost');
    r.follow.pause();
    r.follow.resume();
    await tick();
    expect(r.statuses.slice(-2)).toEqual([
      { type: 'connecting', after: 4, attempt: 0 },
      { type: 'open', after: 4 },
    ]);
  });

  test('past the end is an error of the server, after which a seek back goes on', async () => {
    const { request } = script(serve(LAST));
    const r = run(request);
    r.follow.seek(LAST + 1);
    await tick();
    expect(r.ends).toMatchObject([{ type: 'error', error: { status: 416 } }]);
    r.follow.seek(7);
    await tick();
    expect(r.ids).toEqual([8, 9]);
    expect(r.ends[1]).toMatchObject({ type: 'terminal' });
  });

  for (const after of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    test(`${after} is no cursor`, async () => {
      const { request, lines } = script(first);
      expect(() => new Follow(request, 's1', { after })).toThrow(RangeError);
      const r = run(request);
      await tick();
      expect(() => r.follow.seek(after)).toThrow(RangeError);
      expect(r.follow.cursor).toBe(4);
      expect(live(lines)).toHaveLength(1);
      r.follow.close();
    });
  }

  for (const pace of [-1, NaN, Infinity]) {
    test(`${pace} is no pace`, async () => {
      const { request, lines } = script(first);
      expect(() => new Follow(request, 's1', { pace })).toThrow(RangeError);
      const r = run(request, { pace: 5 });
      await tick();
      expect(() => r.follow.setPace(pace)).toThrow(RangeError);
      await tick();
      r.follow.setPace(5);
      await tick();
      expect(lines).toHaveLength(1);
      expect(live(lines)).toHaveLength(1);
      r.follow.close();
    });
  }

  test('half an event a second is a pace', async () => {
    const { request, lines } = script(first);
    const r = run(request);
    await tick();
    r.follow.setPace(0.5);
    await tick();
    expect(lines[1]!.url).toContain('pace=0.5');
    r.follow.close();
  });

  test('a signal ends what a seek has begun after the end', async () => {
    const abort = new AbortController();
    const { request, lines } = script(serve(LAST), first, serve(LAST));
    const r = run(request, { signal: abort.signal });
    await tick();
    r.follow.seek(0);
    await tick();
    abort.abort();
    await tick();
    expect(r.ends.map((end) => end.type)).toEqual(['terminal', 'closed']);
    expect(live(lines)).toEqual([]);
  });

  test('after a signal has fired between two readings there is no other', async () => {
    const abort = new AbortController();
    const { request, lines } = script(serve(LAST));
    const r = run(request, { signal: abort.signal });
    await tick();
    abort.abort();
    r.follow.seek(0);
    await tick();
    expect(lines).toHaveLength(1);
    expect(r.ends.map((end) => end.type)).toEqual(['terminal', 'closed']);
  });
});

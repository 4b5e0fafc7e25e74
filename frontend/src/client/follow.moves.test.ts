import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Follow, type FollowOptions, type Request, type Status } from './follow.ts';
import { range, refuse, run, serve, tick, type Run } from './follow.harness.ts';
import { script, wireRange, type Answer, type Line } from './testing.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const LAST = 9;
const LONG = 200_000; // more than any wait or watchdog here

const silent: Answer = () => new Promise<Response>(() => {});
const first: Answer = (line) => line.write(wireRange(1, 4));
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

const live = (lines: Line[]): Line[] => lines.filter((line) => !line.aborted);

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

describe('from within callbacks', () => {
  /** Does it once, at the event with this id. */
  const at = (id: number, what: (follow: Follow) => void, request: Request = script(serve(LAST)).request): Run => {
    let done = false;
    const r: Run = run(request, {
      onEvent: (event) => {
        if (event.id !== id || done) return;
        done = true;
        what(r.follow);
      },
    });
    return r;
  };

  const cases: { name: string; id: number; what: (follow: Follow) => void; want: number[] }[] = [
    { name: 'seek back', id: 4, what: (f) => f.seek(1), want: [...range(1, 4), ...range(2, LAST)] },
    { name: 'seek forth', id: 4, what: (f) => f.seek(7), want: [1, 2, 3, 4, 8, 9] },
    { name: 'seek to the start', id: 1, what: (f) => f.seek(0), want: [1, ...range(1, LAST)] },
    { name: 'pause and resume', id: 4, what: (f) => (f.pause(), f.resume()), want: range(1, LAST) },
    { name: 'pause, seek and resume', id: 4, what: (f) => (f.pause(), f.seek(6), f.resume()), want: [1, 2, 3, 4, 7, 8, 9] },
    { name: 'setPace', id: 4, what: (f) => f.setPace(5), want: range(1, LAST) },
    { name: 'seek on the terminal event, whose end it overtakes', id: LAST, what: (f) => f.seek(6), want: [...range(1, LAST), 7, 8, 9] },
    { name: 'cut and setPace', id: 4, what: (f) => (f.cut(), f.setPace(5)), want: range(1, LAST) },
    { name: 'close on the terminal event', id: LAST, what: (f) => f.close(), want: range(1, LAST) },
    { name: 'pause on the terminal event', id: LAST, what: (f) => f.pause(), want: range(1, LAST) },
  ];
  for (const { name, id, what, want } of cases) {
    test(`onEvent: ${name}`, async () => {
      const r = at(id, what);
      await tick(LONG);
      expect(r.ids).toEqual(want);
      expect(r.ends).toMatchObject([{ type: 'terminal' }]);
      expect(r.follow.cursor).toBe(LAST);
    });

    test(`iteration: ${name}`, async () => {
      const follow = new Follow(script(serve(LAST)).request, 's1', { random: () => 0 });
      const ids: number[] = [];
      let done = false;
      const reading = (async () => {
        for await (const event of follow) {
          ids.push(event.id);
          if (event.id !== id || done) continue;
          done = true;
          what(follow);
        }
      })();
      await tick(LONG);
      await reading;
      expect(ids).toEqual(want);
    });
  }

  test('onEvent: nothing comes after a pause though it has arrived', async () => {
    const r = at(4, (follow) => follow.pause());
    await tick(LONG);
    expect(r.ids).toEqual(range(1, 4));
    expect(r.ends).toEqual([]);
    r.follow.resume();
    await tick();
    expect(r.ids).toEqual(range(1, LAST));
  });

  test('onEnd: a seek reads again, and the next end is told', async () => {
    const { request, lines } = script(serve(LAST));
    const r: Run = run(request, {
      onEnd: (end) => {
        r.ends.push(end);
        if (r.ends.length < 3) r.follow.seek(LAST - r.ends.length);
      },
    });
    await tick(LONG);
    expect(r.ids).toEqual([...range(1, LAST), 9, 8, 9]);
    expect(r.ends.map((end) => end.type)).toEqual(['terminal', 'terminal', 'terminal']);
    expect(lines).toHaveLength(3);
  });

  for (const type of ['connecting', 'open', 'gap', 'lost', 'back', 'activity']) {
    for (const what of ['seek', 'pause', 'setPace', 'close'] as const) {
      test(`onStatus: ${what} at "${type}"`, async () => {
        const { request, lines } = script((l) => l.write(wireRange(1, 3) + wireRange(6, 8)), serve(LAST));
        let at: { lines: number; ids: number; time: number } | undefined;
        let asked: number | undefined; // when, since then
        const act = (now: string): void => {
          if (now !== type || at !== undefined) return;
          at = { lines: lines.length, ids: r.ids.length, time: Date.now() };
          if (what === 'seek') r.follow.seek(5);
          else if (what === 'setPace') r.follow.setPace(5);
          else r.follow[what]();
        };
        const onStatus = (status: Status): void => {
          if (at !== undefined && status.type === 'connecting') asked ??= Date.now();
          act(status.type);
        };
        const r: Run = run(request, { onStatus, onActivity: () => act('activity') });
        await tick(LONG);
        expect(at).toBeDefined();
        const before = r.ids.slice(0, at!.ids);
        if (what === 'seek') {
          expect(r.ids).toEqual([...before, ...range(6, LAST)]);
          expect(asked, 'at once').toBe(at!.time);
        } else if (what === 'setPace') expect(r.ids).toEqual(range(1, LAST));
        else {
          expect(r.ids).toEqual(before);
          expect(lines).toHaveLength(at!.lines);
          expect(r.ends).toEqual(what === 'close' ? [{ type: 'closed' }] : []);
        }
        expect(live(lines)).toEqual([]);
        expect(vi.getTimerCount()).toBe(0);
      });
    }
  }
});

describe('by iteration', () => {
  const collect = async (follow: Follow): Promise<number[]> => {
    const ids: number[] = [];
    for await (const event of follow) ids.push(event.id);
    return ids;
  };

  test('after the end, a seek lets it be iterated again', async () => {
    const { request, lines } = script(serve(LAST));
    const follow = new Follow(request, 's1');
    expect(await collect(follow)).toEqual(range(1, LAST));
    expect(await collect(follow)).toEqual([]); // it is at its end
    follow.seek(6);
    expect(await collect(follow)).toEqual([7, 8, 9]);
    follow.seek(LAST);
    expect(await collect(follow)).toEqual([]);
    expect(lines.map((line) => line.after)).toEqual([0, 6, LAST]);
  });

  test('an error is thrown each time until a seek', async () => {
    const { request } = script(refuse(404), serve(LAST));
    const follow = new Follow(request, 's1');
    await expect(collect(follow)).rejects.toMatchObject({ status: 404 });
    await expect(collect(follow)).rejects.toMatchObject({ status: 404 });
    follow.seek(0);
    expect(await collect(follow)).toEqual(range(1, LAST));
  });

  test('a loop that waits while it is paused goes on at resume, from where was sought', async () => {
    const { request } = script(first, serve(LAST));
    const follow = new Follow(request, 's1');
    const ids = collect(follow);
    await tick();
    follow.pause();
    follow.seek(1);
    await tick(LONG);
    follow.resume();
    expect(await ids).toEqual([1, 2, 3, 4, ...range(2, LAST)]);
  });

  test('a Follow has one reader', async () => {
    const { request } = script(first);
    const follow = new Follow(request, 's1');
    const reading = collect(follow);
    await tick();
    await expect(collect(follow)).rejects.toThrow('one at a time');
    follow.close();
    expect(await reading).toEqual([1, 2, 3, 4]);
    await expect(collect(run(request).follow)).rejects.toThrow('one at a time');
  });

  for (const how of ['break', 'throw']) {
    test(`leaving the loop by ${how} closes, and a seek changes nothing`, async () => {
      const { request, lines } = script(first);
      const follow = new Follow(request, 's1');
      const leave = async (): Promise<void> => {
        for await (const event of follow) {
          if (event.id < 3) continue;
          if (how === 'throw') throw new Error('mine');
          break;
        }
      };
      if (how === 'throw') await expect(leave()).rejects.toThrow('mine');
      else await leave();
      follow.seek(0);
      expect(await collect(follow)).toEqual([]);
      expect(lines).toHaveLength(1);
      expect(live(lines)).toEqual([]);
    });
  }

  test('left while it was paused, it is closed', async () => {
    const { request, lines } = script(first);
    const follow = new Follow(request, 's1');
    for await (const event of follow) {
      if (event.id < 4) continue;
      follow.pause();
      break;
    }
    follow.resume();
    await tick(LONG);
    expect(lines).toHaveLength(1);
  });
});

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Follow, type Request, type Status } from './follow.ts';
import { first, LAST, live, LONG, range, refuse, run, serve, tick, type Run } from './follow.harness.ts';
import { script, wireRange } from './testing.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

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

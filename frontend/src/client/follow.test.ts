import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ProblemError } from './client.ts';
import { Follow, GapError, type Request } from './follow.ts';
import { range, refuse, run, tick, type Run } from './follow.harness.ts';
import { script, wire, wireDone, wireRange, type Line } from './testing.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Follow', () => {
  test('delivers to the terminal event, then lets go of the line', async () => {
    const { request, lines } = script((l) => l.write(wireRange(1, 4) + wireDone(5)));
    const r = run(request);
    await tick();
    expect(r.ids).toEqual([1, 2, 3, 4, 5]);
    expect(r.ends).toMatchObject([{ type: 'terminal', event: { outcome: 'done', reason: 'stop', usage: { output_tokens: 3 } } }]);
    expect(lines).toHaveLength(1);
    expect(lines[0]!.aborted).toBe(true);
    expect(lines[0]!.url).toBe('/v1/sessions/s1/events?after=0');
    expect(lines[0]!.headers['Last-Event-ID']).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('types of events', async () => {
    const { request } = script((l) =>
      l.write(
        wire(1) +
          'event: reasoning\nid: 2\ndata: {"text":"hm"}\n\n' +
          'event: tool_call\nid: 3\ndata: {"name":"f"}\n\n' +
          'event: ping\ndata: {"last":3}\n\n' +
          'event: paused\nid: 4\ndata: {}\n\n' +
          'event: resumed\nid: 5\ndata: {"reason":"reader"}\n\n' +
          'event: seam\nid: 6\ndata: {"by":"prefill","offset":12}\n\n' +
          'event: seam\nid: 7\ndata: 1\n\n' +
          'event: mine\nid: 8\ndata: [1]\n\n' +
          'event: message\nid: 9\ndata: {"a":1}\n\n' +
          'event: provider\nid: 10\ndata: {"protocol":"chat","fields":{}}\n\n' +
          'event: failed\nid: 11\ndata: {"reason":"upstream","error":{"code":"cut","message":"it broke"}}\n\n',
      ),
    );
    const r = run(request);
    await tick();
    expect(r.events).toMatchObject([
      { type: 'session', session: { unit: 'token' } },
      { type: 'reasoning', text: 'hm' },
      { type: 'tool_call', data: { name: 'f' } },
      { type: 'paused', reason: '' },
      { type: 'resumed', reason: 'reader' },
      { type: 'seam', by: 'prefill', offset: 12 },
      { type: 'seam', by: '', offset: 0 },
      { type: 'custom', name: 'mine', data: [1] },
      { type: 'custom', name: 'message', data: { a: 1 } },
      { type: 'provider', id: 10, data: { protocol: 'chat', fields: {} } },
      { type: 'end', outcome: 'failed', reason: 'upstream', error: { code: 'cut', message: 'it broke' }, usage: undefined },
    ]);
  });

  test('by iteration; leaving the loop closes the line', async () => {
    const { request, lines } = script((l) => l.write(wireRange(1, 9)));
    const ids: number[] = [];
    for await (const event of new Follow(request, 's1')) {
      ids.push(event.id);
      if (event.id === 4) break;
    }
    expect(ids).toEqual([1, 2, 3, 4]);
    expect(lines[0]!.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('by iteration; a refusal is thrown', async () => {
    const { request } = script(refuse(404));
    await expect(async () => {
      for await (const event of new Follow(request, 's1')) void event;
    }).rejects.toMatchObject({ status: 404, code: 'x', detail: 'because' });
  });

  for (const how of ['end', 'reset'] as const) {
    test(`a line lost by ${how} before the terminal event is asked again`, async () => {
      const { request, lines } = script(
        (l) => {
          l.write(wireRange(1, 3) + 'id: 4\ndata: {"te');
          setTimeout(() => l[how](), 10);
        },
        (l) => l.write(wireRange(4, 5) + wireDone(6)),
      );
      const r = run(request);
      await tick(10);
      expect(r.ids).toEqual([1, 2, 3]);
      expect(r.waits()).toEqual([200]);
      await tick(200);
      expect(r.ids).toEqual(range(1, 6));
      expect(lines[1]!.headers['Last-Event-ID']).toBe('3');
      expect(lines[1]!.url).toBe('/v1/sessions/s1/events');
      expect(r.types()).toEqual(['connecting', 'open', 'lost', 'connecting', 'open', 'back']);
      expect(r.statuses.at(-1)).toEqual({ type: 'back', cut: 3, back: 4, duration: 200, missing: 0, repeated: 0 });
    });
  }

  test('cut at every byte of a transcript', async () => {
    const whole = `retry: 50\n\n: ka\n\n${wire(1)}${wire(2, 'naïve 👩‍👩‍👧')}: ka\n${wire(3, 'b')}${wireDone(4)}`;
    const bytes = new TextEncoder().encode(whole);
    const rest = [0, 1, 2, 3, 4].map((after) => [wire(1), wire(2, 'naïve 👩‍👩‍👧'), wire(3, 'b'), wireDone(4)].slice(after).join(''));
    for (let cut = 0; cut < bytes.length; cut++) {
      const { request } = script(
        (l) => {
          l.write(bytes.subarray(0, cut));
          setTimeout(() => l.reset(), 1);
        },
        (l) => l.write(rest[l.after]!),
      );
      const r = run(request);
      await tick(2000);
      expect(r.ids, `cut at ${cut}`).toEqual([1, 2, 3, 4]);
      expect(r.events.map((e) => (e.type === 'text' ? e.text : '')).join(''), `cut at ${cut}`).toBe('naïve 👩‍👩‍👧b');
      expect(r.follow.counters).toMatchObject({ missing: 0, repeated: 0 });
    }
  });

  test('back-off doubles from retry:, is bounded, and starts again after an event', async () => {
    const end = (text: string) => (l: Line) => {
      l.write(text);
      setTimeout(() => l.end(), 0);
    };
    const { request, lines } = script(end('retry: 300\n\n'), end(''), refuse(503), end(''), end(''), end(wireRange(1, 1)), end(''), (l) => l.write(wireDone(2)));
    const r = run(request, { maxRetry: 1500 });
    await tick(10_000);
    expect(r.waits()).toEqual([300, 600, 1200, 1500, 1500, 200, 300]);
    expect(lines).toHaveLength(8);
    expect(r.ids).toEqual([1, 2]);
  });

  test('a refusal that asks to wait by retry: is heeded though the line was good', async () => {
    const { request } = script(
      (l) => {
        l.write(`retry: 1000\n\n${wire(1)}retry: 5000\n\n`);
        setTimeout(() => l.reset(), 0);
      },
      (l) => l.write(wireDone(2)),
    );
    const r = run(request);
    await tick(4999);
    expect(r.waits()).toEqual([5000]);
    expect(r.ids).toEqual([1]);
    await tick(10);
    expect(r.ids).toEqual([1, 2]);
  });

  test('retry: 0 backs off all the same', async () => {
    const { request, lines } = script((l) => {
      l.write('retry: 0\n\n');
      setTimeout(() => l.end(), 0);
    });
    const r = run(request);
    await tick(1000);
    expect(r.waits()).toEqual([200, 400, 800]);
    expect(lines).toHaveLength(3);
  });

  for (const after of ['2147484', '9'.repeat(400)]) {
    test(`Retry-After of ${after.slice(0, 7)} s waits an hour`, async () => {
      const { request, lines } = script(refuse(503, { 'retry-after': after }));
      const r = run(request, { random: () => 0.5 });
      await tick(3_599_999);
      expect(lines).toHaveLength(1);
      expect(r.waits()).toEqual([3_600_000]);
      await tick(1);
      expect(lines).toHaveLength(2);
    });
  }

  for (const idleTimeout of [Infinity, 2 ** 31, 3_600_001, NaN]) {
    test(`a silence of an hour is one, though idleTimeout is ${idleTimeout}`, async () => {
      const { request, lines } = script((l) => l.write(wire(1)));
      const r = run(request, { idleTimeout });
      await tick(3_599_999);
      expect(lines).toHaveLength(1);
      expect(r.types()).toEqual(['connecting', 'open']);
      await tick(1);
      expect(r.statuses.at(-1)).toMatchObject({ type: 'lost', cause: { message: 'nothing came for 3600000 ms' } });
      r.follow.close();
    });
  }

  test('jitter adds up to a half', async () => {
    const { request } = script(refuse(503));
    const r = run(request, { random: () => 0.999 });
    await tick(4000);
    expect(r.waits().slice(0, 2)).toEqual([1500, 2249]);
  });

  for (const status of [408, 425, 429, 500, 502, 503, 507]) {
    test(`status ${status} is tried again after Retry-After`, async () => {
      const { request } = script(refuse(status, { 'retry-after': '7' }), (l) => l.write(wire(1) + wireDone(2)));
      const r = run(request);
      await tick(6999);
      expect(r.waits()).toEqual([7000]);
      expect(r.ids).toEqual([]);
      await tick(1);
      expect(r.ids).toEqual([1, 2]);
    });
  }

  for (const status of [400, 401, 403, 404, 409, 410, 416]) {
    test(`status ${status} is final`, async () => {
      const { request, lines } = script(refuse(status, {}, { code: 'expired', detail: 'gone', last_event_id: 9 }));
      const r = run(request);
      await tick(100_000);
      expect(lines).toHaveLength(1);
      expect(r.ends).toMatchObject([{ type: 'error', error: { status, code: 'expired', detail: 'gone', document: { last_event_id: 9 } } }]);
      expect((r.ends[0] as { error: unknown }).error).toBeInstanceOf(ProblemError);
    });
  }

  test('an answer that is no event stream is final', async () => {
    const { request, lines } = script(() => new Response('<html>', { headers: { 'content-type': 'text/html' } }));
    const r = run(request);
    await tick(100_000);
    expect(lines).toHaveLength(1);
    expect(r.ends).toMatchObject([{ type: 'error', error: { name: 'ProtocolError' } }]);
  });

  test('data that is no JSON is final, after the events before it', async () => {
    const { request } = script((l) => l.write(`${wire(1)}id: 2\ndata: {\n\n`));
    const r = run(request);
    await tick();
    expect(r.ids).toEqual([1]);
    expect(r.ends).toMatchObject([{ type: 'error', error: { name: 'ProtocolError' } }]);
  });

  test('fetch that rejects is tried again', async () => {
    let calls = 0;
    const { request } = script((l) => l.write(wire(1) + wireDone(2)));
    const r = run((url, init) => (++calls < 3 ? Promise.reject(new TypeError('offline')) : request(url, init)));
    await tick(5000);
    expect(r.waits()).toEqual([1000, 1500]);
    expect(r.ids).toEqual([1, 2]);
  });

  test('wake ends the wait', async () => {
    const { request } = script(refuse(503, { 'retry-after': '3600' }), (l) => l.write(wireDone(1)));
    const r = run(request);
    await tick(10);
    r.follow.wake();
    await tick();
    expect(r.ids).toEqual([1]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a server that is away for a minute: back within 2.25 s of it, at the next event', async () => {
    let down = true;
    const { request, lines } = script(
      (l) => {
        l.write(`retry: 1000\n${wireRange(1, 5)}`);
        setTimeout(() => l.reset(), 10);
      },
      (l) => l.write(wireRange(6, 8) + wireDone(9)),
    );
    let refused = 0;
    const connect: Request = (url, init) => {
      if (lines.length > 0 && down) {
        refused++;
        return Promise.reject(new TypeError('connection refused'));
      }
      return request(url, init);
    };
    const r = run(connect, { random: () => 0.999 });
    await tick(60_000);
    expect(refused).toBeGreaterThan(20);
    expect(r.ids).toEqual(range(1, 5));
    expect(Math.max(...r.waits())).toBeLessThanOrEqual(2250);
    down = false;
    await tick(2250);
    expect(lines[1]!.headers['Last-Event-ID']).toBe('5');
    expect(r.ids).toEqual(range(1, 9));
    expect(r.types().filter((type) => type === 'back')).toHaveLength(1);
    expect(r.statuses.find((s) => s.type === 'back')).toMatchObject({ cut: 5, back: 6, missing: 0, repeated: 0 });
    expect(r.follow.counters).toMatchObject({ missing: 0, repeated: 0 });
  });

  test('retry: beyond maxRetry is heeded', async () => {
    const { request } = script((l) => {
      l.write('retry: 4000\n');
      setTimeout(() => l.end(), 0);
    });
    const r = run(request);
    await tick(10_000);
    expect(r.waits()).toEqual([4000, 4000, 4000]);
  });

  test('an answer that a restart cut short ends with its error', async () => {
    const data = { reason: 'restart', error: { code: 'not_continuable', message: 'the relay was restarted' }, usage: { output_tokens: 1, source: 'estimated' } };
    const { request, lines } = script(
      (l) => {
        l.write(wireRange(1, 3));
        setTimeout(() => l.reset(), 10);
      },
      (l) => l.write(`id: 4\nevent: interrupted\ndata: ${JSON.stringify(data)}\n\n`),
    );
    const r = run(request);
    await tick(10_000);
    expect(lines).toHaveLength(2);
    expect(r.ids).toEqual(range(1, 4));
    expect(r.ends).toEqual([{ type: 'terminal', event: { type: 'end', id: 4, outcome: 'interrupted', reason: 'restart', error: data.error, usage: data.usage, data } }]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('wake asks anew for a line that has been silent for more than a keep-alive, at once', async () => {
    const { request, lines } = script(
      (l) => l.write(wireRange(1, 2)),
      (l) => l.write(wireDone(3)),
    );
    const r = run(request);
    await tick(20_000);
    r.follow.wake();
    await tick();
    expect(lines).toHaveLength(1);
    await tick(1);
    r.follow.wake();
    await tick();
    expect(lines[0]!.aborted).toBe(true);
    expect(r.waits()).toEqual([0]);
    expect(r.ids).toEqual([1, 2, 3]);
  });

  test('wake hurries one line alone', async () => {
    const { request } = script((l) => l.write(wireRange(1, 2)), refuse(503), (l) => l.write(wireDone(3)));
    const r = run(request);
    await tick(20_001);
    r.follow.wake();
    await tick(1000);
    expect(r.waits()).toEqual([0, 1000]);
    expect(r.ids).toEqual([1, 2, 3]);
  });

  test('wake asks anew when a request has no answer for two seconds', async () => {
    const { request } = script((l) => l.write(wireDone(1)));
    let calls = 0;
    const r = run((url, init) => (calls++ === 0 ? new Promise(() => {}) : request(url, init)));
    await tick(2000);
    r.follow.wake();
    await tick();
    expect(calls).toBe(1);
    await tick(1);
    r.follow.wake();
    await tick();
    expect(r.ids).toEqual([1]);
  });

  test('wake before and after all changes nothing', async () => {
    const { request, lines } = script((l) => l.write(wireDone(1)));
    const r = run(request);
    r.follow.wake();
    await tick();
    expect(r.ids).toEqual([1]);
    await tick(30_000);
    r.follow.wake();
    await tick(30_000);
    expect(lines).toHaveLength(1);
  });

  test('maxAttempts bounds the fruitless lines in a row', async () => {
    const { request, lines } = script(refuse(503));
    const r = run(request, { maxAttempts: 3 });
    await tick(100_000);
    expect(lines).toHaveLength(3);
    expect(r.ends).toMatchObject([{ type: 'error', error: { status: 503 } }]);
  });

  test('204 means that nothing is missing', async () => {
    const { request } = script(() => new Response(null, { status: 204 }));
    const r = run(request, { after: 9 });
    await tick();
    expect(r.ends).toEqual([{ type: 'nothing-more' }]);
  });

  test('silence is a lost line, keep-alives are not', async () => {
    const { request, lines } = script(
      (l) => {
        l.write(wire(1));
        for (let s = 15; s <= 150; s += 15) setTimeout(() => l.write(': ka\n'), s * 1000);
      },
      (l) => l.write(wireDone(2)),
    );
    const r = run(request);
    await tick(150_000 + 44_999);
    expect(lines).toHaveLength(1);
    expect(r.activity).toBe(12);
    await tick(1);
    expect(lines[0]!.aborted).toBe(true);
    await tick(200);
    expect(r.ids).toEqual([1, 2]);
  });

  test('a request that is never answered counts as silence', async () => {
    const { request } = script((l) => l.write(wireDone(1)));
    let calls = 0;
    const r = run((url, init) => (calls++ === 0 ? new Promise(() => {}) : request(url, init)));
    await tick(46_100);
    expect(r.ids).toEqual([1]);
  });

  test('repeated events are dropped and counted', async () => {
    const { request } = script(
      (l) => {
        l.write(wireRange(1, 5));
        setTimeout(() => l.reset(), 0);
      },
      (l) => l.write(wireRange(1, 7) + wireDone(8)),
    );
    const r = run(request);
    await tick(1000);
    expect(r.ids).toEqual(range(1, 8));
    expect(r.follow.counters).toEqual({ connections: 2, delivered: 8, missing: 0, repeated: 5 });
    expect(r.statuses.find((s) => s.type === 'back')).toMatchObject({ cut: 5, back: 6, repeated: 5, missing: 0 });
  });

  test('a gap is reported, never delivered, and healed by asking again', async () => {
    const { request, lines } = script(
      (l) => l.write(wireRange(1, 3) + wireRange(6, 8)),
      (l) => l.write(wireRange(4, 8) + wireDone(9)),
    );
    const r = run(request);
    await tick(2000);
    expect(r.ids).toEqual(range(1, 9));
    expect(lines[1]!.after).toBe(3);
    expect(r.statuses).toContainEqual({ type: 'gap', expected: 4, got: 6 });
    expect(r.statuses.find((s) => s.type === 'back')).toMatchObject({ cut: 3, back: 4, missing: 2, repeated: 0 });
  });

  test('a gap that stays is an error', async () => {
    const { request, lines } = script((l) => l.write(wireRange(l.after + 1, 3) + wire(5)));
    const r = run(request);
    await tick(100_000);
    expect(r.ids).toEqual([1, 2, 3]);
    expect(lines).toHaveLength(3);
    expect(r.ends).toMatchObject([{ type: 'error', error: { expected: 4, got: 5 } }]);
    expect((r.ends[0] as { error: unknown }).error).toBeInstanceOf(GapError);
  });

  test('a cut goes on after the cursor that the caller commits', async () => {
    let drawn = 0;
    const { request, lines } = script((l) => l.write(wireRange(l.after + 1, l.after === 0 ? 9 : 11) + (l.after === 0 ? '' : wireDone(12))));
    const r = run(request, { cursor: () => drawn });
    await tick();
    expect(r.ids).toEqual(range(1, 9));
    drawn = 6;
    r.follow.cut();
    await tick(300);
    expect(lines[0]!.aborted).toBe(true);
    expect(lines[1]!.after).toBe(6);
    expect(r.ids).toEqual([...range(1, 9), ...range(7, 12)]);
    expect(r.statuses.find((s) => s.type === 'back')).toEqual({ type: 'back', cut: 6, back: 7, duration: 200, missing: 0, repeated: 0 });
    expect(r.follow.counters.repeated).toBe(0);
  });

  test('a line that does not move the cursor is fruitless, whatever it brought', async () => {
    const causes: unknown[] = [];
    const { request, lines } = script((l) => {
      l.write(wireRange(1, 50));
      setTimeout(() => l.reset(), 5);
    });
    const r = run(request, {
      cursor: (cause) => {
        causes.push(cause);
        return 0;
      },
    });
    await tick(4400);
    expect(r.waits()).toEqual([1000, 1500, 1500, 1500]);
    expect(lines).toHaveLength(4);
    r.follow.wake();
    await tick();
    r.follow.cut();
    await tick();
    expect(causes.map((cause) => (cause as Error).name)).toEqual(['TypeError', 'TypeError', 'TypeError', 'TypeError', 'CutError']);
    r.follow.close();
  });

  test('a cut while events wait drops them', async () => {
    let r: Run;
    const { request } = script(
      (l) => l.write(wireRange(1, 9)),
      (l) => l.write(wireRange(5, 9) + wireDone(10)),
    );
    r = run(request, { onEvent: (e) => void (e.id === 4 && r.follow.cut()) });
    await tick();
    expect(r.ids).toEqual([1, 2, 3, 4]);
    await tick(300);
    expect(r.ids).toEqual(range(1, 10));
  });

  test('nothing is delivered after close', async () => {
    let r: Run;
    const { request, lines } = script((l) => l.write(wireRange(1, 9)));
    r = run(request, { onEvent: (e) => void (e.id === 4 && r.follow.close()) });
    await tick(100_000);
    expect(r.ids).toEqual([1, 2, 3, 4]);
    expect(lines[0]!.aborted).toBe(true);
    expect(lines).toHaveLength(1);
    expect(r.ends).toEqual([{ type: 'closed' }]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('close between two tries', async () => {
    const { request, lines } = script(refuse(503));
    const r = run(request);
    await tick(10);
    r.follow.close();
    await tick(100_000);
    expect(lines).toHaveLength(1);
    expect(r.ends).toEqual([{ type: 'closed' }]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('the signal closes', async () => {
    const { request, lines } = script((l) => l.write(wireRange(1, 3)));
    const abort = new AbortController();
    const r = run(request, { signal: abort.signal });
    await tick();
    abort.abort();
    await tick();
    expect(lines[0]!.aborted).toBe(true);
    expect(r.ends).toEqual([{ type: 'closed' }]);
  });

  for (const how of ['close', 'end'] as const) {
    test(`after its ${how} nothing listens to the signal`, async () => {
      const { request } = script((l) => l.write(how === 'end' ? wireDone(1) : wire(1)));
      const { signal } = new AbortController();
      const listening = new Set<unknown>();
      vi.spyOn(signal, 'addEventListener').mockImplementation((_type, listener) => void listening.add(listener));
      vi.spyOn(signal, 'removeEventListener').mockImplementation((_type, listener) => void listening.delete(listener));
      const r = run(request, { signal });
      expect(listening.size).toBe(1);
      await tick();
      if (how === 'close') r.follow.close();
      expect(listening.size).toBe(0);
    });
  }

  for (const type of ['connecting', 'open', 'gap', 'lost', 'back', 'activity']) {
    test(`what a callback throws ends the reading: ${type}`, async () => {
      const { request, lines } = script(
        (l) => l.write(wire(1) + wire(3)),
        (l) => l.write(wire(2)),
      );
      const fail = (now: string): void => {
        if (now === type) throw new Error('mine');
      };
      const r = run(request, { onStatus: (s) => fail(s.type), onActivity: () => fail('activity') });
      await tick(10_000);
      expect(r.ends).toMatchObject([{ type: 'error', error: { message: 'mine' } }]);
      expect(lines.length).toBe(type === 'connecting' ? 0 : type === 'back' ? 2 : 1);
      expect(vi.getTimerCount()).toBe(0);
    });
  }

  test('pace and a starting point', async () => {
    const { request, lines } = script((l) => l.write(wireRange(8, 9) + wireDone(10)));
    const r = run(request, { after: 7, pace: 20 });
    await tick();
    expect(r.ids).toEqual([8, 9, 10]);
    expect(lines[0]!.url).toBe('/v1/sessions/s1/events?pace=20');
    expect(lines[0]!.headers['Last-Event-ID']).toBe('7');
  });
});

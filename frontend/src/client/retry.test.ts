import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client, ProblemError } from './client.ts';
import { bounded, passes, persist } from './retry.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const tick = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const problem = (status: number, code: string, retryAfter?: number): Response =>
  new Response(JSON.stringify({ status, code, detail: code }), {
    status,
    headers: { 'content-type': 'application/problem+json', ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }) },
  });

/** A client that is answered by each of the answers in turn; undefined is a server that is away. */
function client(...answers: (Response | undefined)[]): { client: Client; times: number[] } {
  const times: number[] = [];
  const fetch_ = (async () => {
    const answer = answers[times.push(Date.now()) - 1];
    if (answer === undefined) throw new TypeError('connection refused');
    return answer;
  }) as typeof fetch;
  return { client: new Client({ fetch: fetch_ }), times };
}

const ok = (): Response => new Response(JSON.stringify({ id: 's1', state: 'running' }));

describe('persist', () => {
  test('calls until the server is back', async () => {
    const { client: c, times } = client(undefined, undefined, undefined, undefined, ok());
    const waits: number[] = [];
    const got = persist(() => c.state('s1'), { random: () => 0, onFailure: (error, wait) => void (error instanceof TypeError && waits.push(wait)) });
    await tick(10_000);
    expect(await got).toMatchObject({ id: 's1' });
    expect(waits).toEqual([500, 1000, 1500, 1500]);
    expect(times).toHaveLength(5);
  });

  for (const [status, code] of [
    [503, 'shutting_down'],
    [503, 'unavailable'],
    [507, 'storage_full'],
    [429, 'overloaded'],
  ] as const) {
    test(`${code} passes, not before its Retry-After`, async () => {
      const { client: c, times } = client(problem(status, code, 2), problem(status, code, 2), ok());
      const began = Date.now();
      const done = persist(() => c.stop('s1'), { random: () => 0 });
      await tick(10_000);
      await done;
      expect(times.map((time) => time - began)).toEqual([0, 2000, 4000]);
    });
  }

  for (const [status, code] of [
    [400, 'invalid_field'],
    [404, 'session_not_found'],
    [409, 'session_ended'],
    [410, 'session_evicted'],
    [413, 'session_full'],
    [500, 'internal_error'],
  ] as const) {
    test(`${code} does not pass`, async () => {
      const { client: c, times } = client(problem(status, code), ok());
      await expect(persist(() => c.resume('s1'))).rejects.toMatchObject({ status, code });
      expect(times).toHaveLength(1);
      expect(vi.getTimerCount()).toBe(0);
    });
  }

  test('the signal ends the tries, in mid-wait and before the first', async () => {
    const { client: c, times } = client();
    const abort = new AbortController();
    const done = persist(() => c.state('s1'), { signal: abort.signal }).catch((error: unknown) => error);
    await tick(100);
    abort.abort();
    expect(await done).toMatchObject({ name: 'AbortError' });
    expect(times).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
    await expect(persist(() => c.state('s1'), { signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(times).toHaveLength(1);
  });
});

test('passes', () => {
  expect(passes(new TypeError('fetch failed'))).toBe(true);
  expect(passes(new ProblemError(502))).toBe(true);
  expect(passes(new SyntaxError('no JSON'))).toBe(false);
  expect(passes(new DOMException('', 'AbortError'))).toBe(false);
});

test('bounded', () => {
  for (const milliseconds of [0, 1, 45_000, 3_600_000]) expect(bounded(milliseconds)).toBe(milliseconds);
  for (const milliseconds of [3_600_001, 2 ** 31, Infinity, NaN]) expect(bounded(milliseconds)).toBe(3_600_000);
});

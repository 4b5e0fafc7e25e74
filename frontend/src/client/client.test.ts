import { describe, expect, test, vi } from 'vitest';
import { Client, newKey, parseRetryAfter, ProblemError } from './client.ts';

interface Call {
  url: string;
  method: string;
  headers: Record<string, string>;
  body: unknown;
}

function fake(answer: () => Response): { client: Client; calls: Call[] } {
  const calls: Call[] = [];
  const fetch_ = (async (input: string, init: RequestInit) => {
    calls.push({
      url: input,
      method: init.method ?? 'GET',
      headers: init.headers as Record<string, string>,
      body: typeof init.body === 'string' ? JSON.parse(init.body) : undefined,
    });
    return answer();
  }) as typeof fetch;
  return { client: new Client({ base: 'http://relay.test/', headers: { Authorization: 'Bearer k' }, fetch: fetch_ }), calls };
}

const json = (body: unknown, status = 200) => (): Response => new Response(JSON.stringify(body), { status });

describe('Client', () => {
  test('create', async () => {
    const { client, calls } = fake(json({ id: 's1', state: 'running' }, 201));
    const session = await client.create({ source: { type: 'generate', prompt: 'hi' }, unit: 'token', rate: 20 });
    expect(session.id).toBe('s1');
    expect(calls).toEqual([
      {
        url: 'http://relay.test/v1/sessions',
        method: 'POST',
        headers: { Authorization: 'Bearer k', 'Content-Type': 'application/json' },
        body: { source: { type: 'generate', prompt: 'hi' }, unit: 'token', rate: 20 },
      },
    ]);
  });

  test('a create, and a continue, with a key', async () => {
    const { client, calls } = fake(json({ id: 's1' }, 201));
    const key = newKey();
    await client.create({ source: { type: 'push' } }, { key });
    await client.continue('s1', { key });
    expect(calls.map((call) => call.headers['Idempotency-Key'])).toEqual([key, key]);
    expect(calls.map((call) => call.body)).toEqual([{ source: { type: 'push' } }, undefined]);
  });

  const commands: { name: string; run: (c: Client) => Promise<unknown>; want: Partial<Call> }[] = [
    { name: 'list', run: (c) => c.list({ limit: 5, after: 'a b' }), want: { method: 'GET', url: 'http://relay.test/v1/sessions?limit=5&after=a+b' } },
    { name: 'list, all as the server has it', run: (c) => c.list(), want: { method: 'GET', url: 'http://relay.test/v1/sessions' } },
    { name: 'state', run: (c) => c.state('a/b'), want: { method: 'GET', url: 'http://relay.test/v1/sessions/a%2Fb' } },
    { name: 'text', run: (c) => c.text('s1'), want: { method: 'GET', url: 'http://relay.test/v1/sessions/s1/text' } },
    { name: 'source', run: (c) => c.source('s1'), want: { method: 'GET', url: 'http://relay.test/v1/sessions/s1/source' } },
    { name: 'cursors', run: (c) => c.cursors('s1', 57), want: { method: 'GET', url: 'http://relay.test/v1/sessions/s1/cursors?after=57' } },
    {
      name: 'append',
      run: (c) => c.append('s1', { text: 'x', producer: 'p', seq: 1 }),
      want: { method: 'POST', url: 'http://relay.test/v1/sessions/s1/append', body: { text: 'x', producer: 'p', seq: 1 } },
    },
    { name: 'pause', run: (c) => c.pause('s1'), want: { method: 'POST', url: 'http://relay.test/v1/sessions/s1/pause', body: undefined } },
    { name: 'resume', run: (c) => c.resume('s1'), want: { method: 'POST', url: 'http://relay.test/v1/sessions/s1/resume' } },
    { name: 'stop', run: (c) => c.stop('s1'), want: { method: 'POST', url: 'http://relay.test/v1/sessions/s1/stop' } },
    { name: 'continue', run: (c) => c.continue('s1'), want: { method: 'POST', url: 'http://relay.test/v1/sessions/s1/continue', body: undefined } },
    { name: 'finish', run: (c) => c.finish('s1'), want: { method: 'POST', url: 'http://relay.test/v1/sessions/s1/finish' } },
    { name: 'delete', run: (c) => c.delete('s1'), want: { method: 'DELETE', url: 'http://relay.test/v1/sessions/s1' } },
    { name: 'models', run: (c) => c.models(), want: { method: 'GET', url: 'http://relay.test/v1/models' } },
    { name: 'ready', run: (c) => c.ready(), want: { method: 'GET', url: 'http://relay.test/readyz' } },
  ];
  for (const { name, run, want } of commands) {
    test(name, async () => {
      const { client, calls } = fake(json({ data: [{ id: 'demo' }] }));
      await run(client);
      expect(calls).toHaveLength(1);
      expect(calls[0]).toMatchObject(want);
    });
  }

  test('what a source was given can be given again, whatever it holds', async () => {
    const given = {
      type: 'upstream',
      model: 'm',
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }], name: 'a' }, { type: 'function_call_output', output: 'x' }],
      parameters: { temperature: 0 },
      later: 1,
    };
    const { client, calls } = fake(json(given));
    const source = await client.source('s1');
    expect(source).toEqual(given);
    await client.create({ source });
    expect(calls[1]!.body).toEqual({ source: given });
  });

  test('models', async () => {
    expect(await fake(json({ object: 'list', data: [{ id: 'demo' }] })).client.models()).toEqual([{ id: 'demo' }]);
    expect(await fake(json({})).client.models()).toEqual([]);
  });

  test('follow goes through the same base and headers', async () => {
    const { client, calls } = fake(() => new Response('id: 5\nevent: done\ndata: {}\n\n', { headers: { 'content-type': 'text/event-stream' } }));
    for await (const event of client.follow('s1', { after: 4 })) void event;
    expect(calls[0]).toMatchObject({
      url: 'http://relay.test/v1/sessions/s1/events',
      headers: { Authorization: 'Bearer k', Accept: 'text/event-stream', 'Last-Event-ID': '4' },
    });
  });

  const problems: { name: string; answer: () => Response; want: Partial<ProblemError> }[] = [
    {
      name: 'problem document',
      answer: () =>
        new Response(JSON.stringify({ type: 'about:blank', title: 'Too many', status: 429, code: 'overload', detail: 'full' }), {
          status: 429,
          headers: { 'retry-after': '3' },
        }),
      want: { status: 429, code: 'overload', detail: 'full', message: 'full', retryAfter: 3000 },
    },
    { name: 'title alone', answer: json({ title: 'Not found', code: 'unknown' }, 404), want: { detail: 'Not found', code: 'unknown' } },
    { name: "a provider's shape", answer: json({ error: { message: 'no', type: 'invalid' } }, 400), want: { detail: 'no', code: 'invalid' } },
    { name: 'no JSON', answer: () => new Response('<html>', { status: 502 }), want: { status: 502, code: '', detail: '' } },
    { name: 'JSON that is no object', answer: json('no', 500), want: { status: 500, code: '', document: undefined } },
    { name: 'no body', answer: () => new Response(null, { status: 503 }), want: { message: 'the server answered with status 503' } },
  ];
  for (const { name, answer, want } of problems) {
    test(`problem: ${name}`, async () => {
      const error: unknown = await fake(answer).client.state('s1').catch((e: unknown) => e);
      expect(error).toBeInstanceOf(ProblemError);
      expect(error).toMatchObject(want);
    });
  }
});

test('newKey', () => {
  expect(newKey()).toMatch(/^[0-9a-f]{32}$/);
  expect(newKey()).not.toBe(newKey());
});

test('parseRetryAfter', () => {
  vi.useFakeTimers({ now: Date.parse('2026-01-01T00:00:00Z') });
  expect(parseRetryAfter('12')).toBe(12_000);
  expect(parseRetryAfter('Thu, 01 Jan 2026 00:00:30 GMT')).toBe(30_000);
  expect(parseRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT')).toBe(0);
  expect(parseRetryAfter('soon')).toBeUndefined();
  expect(parseRetryAfter(null)).toBeUndefined();
  vi.useRealTimers();
});

import { describe, expect, test, vi } from 'vitest';
import { wireRange, type Line } from '../client/testing.ts';
import { harness, inVirtualTime, problem, question, text, tick, type Harness } from './harness.ts';

inVirtualTime();

const head = { id: 's1', at: undefined, paused: false, pace: 0 };
const start = { ...head, at: 0 };
const five = (line: Line): void => line.write(wireRange(line.after + 1, 5));

/** A session's state, as the server answers. */
const told = (more: Record<string, unknown> = {}): Response =>
  new Response(JSON.stringify({ id: 's1', state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 5, ...more }));

/** A reading of s1 whose requests of the state, the first being 1, are answered by hand: undefined never comes. */
function asked(answer: (n: number) => Response | Promise<Response> | undefined, ...lines: ((line: Line) => Response | void)[]): Harness & { signals: AbortSignal[] } {
  const signals: AbortSignal[] = [];
  const h = harness(lines, {}, undefined, (url, init) => {
    if (!/\/sessions\/s\d$/.test(url) || init.method !== 'GET') return undefined;
    const signal = init.signal!;
    signals.push(signal);
    return answer(signals.length) ?? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  return { ...h, signals };
}

/** An answer that comes when it is given. */
function later(): { answer: Promise<Response>; give: (response: Response) => void } {
  let give!: (response: Response) => void;
  const answer = new Promise<Response>((resolve) => (give = resolve));
  return { answer, give };
}

const open = (h: Harness): number => h.lines.filter((line) => !line.aborted).length;

describe('an address without a place', () => {
  test('reads up to the last event, and goes on', async () => {
    const h = asked(() => told(), (l) => l.write(wireRange(1, 9)));
    h.reading.open(head);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 9 });
    expect(h.answer.text).toBe(text(2, 9));
  });

  test('paused, it pauses at the last event', async () => {
    const h = asked(() => told(), (l) => l.write(wireRange(1, 9)));
    h.reading.open({ ...head, paused: true });
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 5 });
  });

  test('a request that is never answered is made again', async () => {
    const h = asked((n) => (n === 1 ? undefined : told()), five);
    h.reading.open(head);
    await tick(9_900);
    expect(h.reading).toMatchObject({ phase: 'connecting', cursor: 0 });
    await tick(1_000);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 5 });
    expect(h.signals[0]!.aborted).toBe(true);
  });

  test('a server that is away is asked again, and is told of', async () => {
    const h = asked((n) => (n < 3 ? problem(503, 'unavailable', 'no') : told()), five);
    h.reading.open(head);
    await tick(100);
    expect(h.reading.phase).toBe('reconnecting');
    await tick(5_000);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 5 });
  });

  test.each([404, 410, 500])('refused by %i, it says why, and asks no more', async (status) => {
    const h = asked(() => problem(status, 'no', 'no'));
    h.reading.open(head);
    await tick(60_000);
    expect(h.reading.phase).toBe('refused');
    expect(h.signals).toHaveLength(1);
    expect(h.lines).toHaveLength(0);
  });

  test('a step that was asked for before the server tells is what is done', async () => {
    const { answer, give } = later();
    const h = asked(() => answer, (l) => l.write(wireRange(1, 9)));
    h.reading.open(head);
    await tick(1);
    h.reading.setSpeed('step');
    h.reading.step();
    give(told({ last_event_id: 9 }));
    await tick(500);
    expect(h.reading).toMatchObject({ phase: 'paused', cursor: 1, stepping: true });
    expect(h.lines).toHaveLength(1);
  });

  test('left before the server tells, the answer is nobody’s, and nobody waits for it', async () => {
    const { answer, give } = later();
    const h = asked((n) => (n === 1 ? answer : undefined), five);
    h.reading.open(head);
    await tick(1);
    h.reading.open({ ...head, id: 's2' });
    await tick(1);
    give(told({ unit: 'word' }));
    await tick(100);
    expect(h.signals.map((signal) => signal.aborted)).toEqual([true, false]);
    expect(h.reading).toMatchObject({ id: 's2', phase: 'connecting', session: undefined, unit: '' });
    expect(h.lines).toHaveLength(0);
    h.reading.leave();
    expect(h.signals[1]!.aborted).toBe(true);
    await tick();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('in the background it is found; after 30 s nobody asks until it is shown', async () => {
    const h = asked((n) => (n === 1 ? undefined : told()), five);
    h.reading.open(head);
    h.reading.setVisible(false);
    await tick(1);
    expect(h.signals).toHaveLength(1);
    h.reading.rest();
    await tick(60_000);
    expect(h.signals).toHaveLength(1);
    expect(h.lines).toHaveLength(0);
    h.reading.setVisible(true);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 5 });
  });
});

describe('a session that is not there', () => {
  test('a paused address at its beginning is refused', async () => {
    const h = asked(() => problem(404, 'session_not_found', ''));
    h.reading.open({ ...start, paused: true });
    await tick(60_000);
    expect(h.reading.phase).toBe('refused');
    expect(h.signals).toHaveLength(1);
  });

  test('that goes away while this reader has paused is refused; the text stays', async () => {
    const h = asked((n) => (n < 3 ? told() : problem(410, 'session_expired', '')), five);
    h.reading.open(start);
    await tick(1_000);
    h.reading.pause();
    await tick(60_000);
    expect(h.reading).toMatchObject({ phase: 'refused', cursor: 5 });
    expect(h.answer.text).toBe(text(2, 5));
    expect(h.signals).toHaveLength(3);
  });

  test('any other refusal of the state ends nothing: the line tells', async () => {
    const h = asked(() => problem(403, 'forbidden', ''), five);
    h.reading.open(start);
    await tick(10_000);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 5, trouble: undefined });
  });
});

describe('a page that nobody looks at', () => {
  test('hidden before its session was made, it opens no line until it is shown', async () => {
    const { answer, give } = later();
    const h = harness([five], {}, undefined, (url, init) => (url === '/v1/sessions' && init.method === 'POST' ? answer : undefined));
    void h.talk.send(question);
    h.reading.setVisible(false);
    await tick(31_000);
    give(told({ last_event_id: 1 }));
    await tick(40_000);
    expect(h.lines).toHaveLength(0);
    expect(h.url()).toBe('/s/s1?at=0');
    h.reading.setVisible(true);
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 5 });
  });

  test('it rests once while it paused, and reads on when it is shown and somebody continues', async () => {
    const h = asked(() => told(), five);
    h.reading.open({ ...start, paused: true });
    h.reading.setVisible(false);
    await tick(60_000);
    expect(open(h)).toBe(0);
    h.reading.setVisible(true);
    await tick(100);
    expect(h.reading.phase).toBe('paused');
    h.reading.continue();
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'live', cursor: 5 });
  });
});

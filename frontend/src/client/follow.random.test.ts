/** Random programs of commands against a server that misbehaves by chance, checked by a model: one number, the id due. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { StreamEvent } from './event.ts';
import { Follow, type End } from './follow.ts';
import { refuse, serve, tick } from './follow.harness.ts';
import { script, wire, wireDone, type Answer, type Line } from './testing.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const LAST = 40;
const LONG = 7_200_000;
const PROGRAMS = 60;
const COMMANDS = 60;

/** Numbers from 0 up to 1 (mulberry32). */
function chance(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Serves in pieces cut anywhere, late, twice, with gaps; breaks off, refuses, and is silent. */
function badly(random: () => number): Answer {
  const below = (n: number): number => Math.floor(random() * n);
  return (line) => {
    if (random() < 0.1) return refuse(503, random() < 0.3 ? { 'retry-after': '5' } : {})();
    if (random() < 0.05) return new Promise<Response>(() => {});
    if (line.after >= LAST) return serve(LAST)(line);
    const from = random() < 0.1 ? below(line.after + 1) : line.after; // some again
    const hole = random() < 0.1 ? from + 1 + below(LAST - from) : 0;
    let text = random() < 0.3 ? `retry: ${below(2000)}\n\n` : '';
    for (let id = from + 1; id <= LAST; id++) {
      if (id !== hole) text += id === LAST ? wireDone(id) : wire(id, ` ${id} 👩‍👩‍👧`);
      if (random() < 0.05) text += ': ka\n';
    }
    const bytes = new TextEncoder().encode(text);
    const stop = random() < 0.4 ? below(bytes.length) : bytes.length;
    const write = (start: number): void => {
      const end = Math.min(stop, start + 1 + below(400));
      line.write(bytes.subarray(start, end));
      const delay = random() < 0.5 ? 0 : below(300);
      if (end < stop) delay === 0 ? write(end) : setTimeout(() => write(end), delay);
      else if (stop < bytes.length) setTimeout(() => (random() < 0.5 ? line.end() : line.reset()), delay);
    };
    write(0);
  };
}

async function program(seed: number, how: 'onEvent' | 'iteration'): Promise<void> {
  const random = chance(seed);
  const below = (n: number): number => Math.floor(random() * n);
  let good = false;
  const { request, lines } = script((line) => (good ? serve(LAST) : badly(random))(line));
  const live = (): Line[] => lines.filter((line) => !line.aborted);
  let due = 1; // the model
  let quiet = false; // since a pause or a seek: until a line is asked for, nothing is told
  let cut = false; // the same of what is delivered
  let stray = false; // a seek may have come while an iterator was handing over an event
  let inside = 0; // commands from within the delivery of an event that are still to be given
  const ends: End[] = [];

  const deliver = (event: StreamEvent): void => {
    expect(event.id, 'what is delivered').toBe(due);
    expect(follow.cursor).toBe(event.id);
    if (how === 'onEvent') {
      expect(follow.paused, 'nothing comes while it is paused').toBe(false);
      expect(cut, 'nothing comes of a line that was cut').toBe(false);
    }
    expect(live().length).toBeLessThanOrEqual(1);
    due++;
    if (event.type === 'end') {
      expect(event.id).toBe(LAST);
      expect(live()).toEqual([]);
    }
    if (inside > 0) {
      inside--;
      command();
    }
  };
  const onEnd = (end: End): void => {
    expect(['terminal', 'nothing-more', 'error']).toContain(end.type);
    if (end.type === 'error') expect(end.error).toMatchObject({ name: 'GapError' }); // three times the same, by chance
    else expect(due).toBe(LAST + 1);
    ends.push(end);
  };

  const seek = (): void => {
    const after = below(LAST + 1);
    follow.seek(after);
    due = after + 1;
    quiet = stray = true;
    expect(live(), 'a seek lets go').toEqual([]);
    expect(follow.cursor).toBe(after);
  };
  const commands: (() => void)[] = [
    seek,
    seek,
    () => {
      follow.pause();
      quiet = true;
      expect(live(), 'a pause lets go').toEqual([]);
    },
    () => follow.resume(),
    () => follow.resume(),
    () => follow.setPace(below(3) * 10),
    () => {
      follow.cut();
      cut = true;
    },
    () => follow.wake(),
    () => void inside++,
  ];
  const command = (): void => commands[below(commands.length)]!();

  const follow: Follow = new Follow(request, 's1', {
    random,
    idleTimeout: 20_000,
    onStatus: (status) => {
      if (quiet) expect(status.type).toBe('connecting');
      quiet = false;
      expect(follow.paused).toBe(false);
      if (status.type === 'connecting') {
        cut = stray = false;
        expect(live(), 'one line at a time').toEqual([]);
        expect(status.after).toBe(due - 1);
      }
      if (status.type === 'back') expect(status.back).toBe(due);
    },
    ...(how === 'onEvent' ? { onEvent: deliver, onEnd } : {}),
  });

  let reading = how === 'iteration' ? read() : undefined;
  async function read(): Promise<void> {
    for (;;) {
      try {
        for await (const event of follow) {
          if (event.id === follow.cursor && event.id === due) deliver(event);
          else {
            expect(stray, 'one event at most has been handed over before a seek').toBe(true);
            stray = false;
          }
          for (let i = below(4); i > 0; i--) await null;
        }
      } catch (error) {
        expect(error).toMatchObject({ name: 'GapError' });
      }
      if (good && due === LAST + 1) return;
      await new Promise((resolve) => setTimeout(resolve, 50)); // it may have been sought meanwhile
    }
  }

  for (let i = 0; i < COMMANDS; i++) {
    command();
    // Between two microtasks, two events, or two tries.
    if (random() < 0.5) for (let k = below(40); k > 0; k--) await null;
    else await tick(random() < 0.7 ? below(50) : below(3000));
  }

  good = true;
  inside = 0;
  follow.resume();
  seek();
  if (due === LAST + 1) follow.seek((due = 1) - 1);
  await tick(LONG);
  await reading;
  expect(due).toBe(LAST + 1);
  expect(live()).toEqual([]);
  if (how === 'onEvent') expect(ends.at(-1)).toMatchObject({ type: 'terminal', event: { id: LAST } });
  expect(vi.getTimerCount()).toBe(0);
}

describe('random programs', () => {
  for (const how of ['onEvent', 'iteration'] as const) {
    test(`what is delivered is dense from each place sought: ${how}`, async () => {
      for (let seed = 1; seed <= PROGRAMS; seed++) {
        await program(seed, how).catch((error: unknown) => {
          throw new Error(`seed ${seed}`, { cause: error });
        });
      }
    }, 60_000);
  }
});

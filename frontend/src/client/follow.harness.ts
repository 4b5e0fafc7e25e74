/** A Follow and what it tells, for its tests. They run in virtual time: vi.useFakeTimers(). */

import { vi } from 'vitest';
import type { StreamEvent } from './event.ts';
import { Follow, type End, type FollowOptions, type Request, type Status } from './follow.ts';
import { wireDone, wireRange, type Answer, type Line } from './testing.ts';

/** The last event of the sessions that follow.moves and follow.within read. */
export const LAST = 9;

export const LONG = 200_000; // milliseconds: more than any wait or watchdog here

/** An answer that stays open. */
export const first: Answer = (line) => line.write(wireRange(1, 4));

export const live = (lines: Line[]): Line[] => lines.filter((line) => !line.aborted);

/** A Follow with all that it has told. */
export interface Run {
  follow: Follow;
  ids: number[];
  events: StreamEvent[];
  statuses: Status[];
  ends: End[];
  activity: number;
  /** Waits announced between tries. */
  waits(): number[];
  types(): string[];
}

export function run(request: Request, options: FollowOptions = {}): Run {
  const r = { ids: [], events: [], statuses: [], ends: [], activity: 0 } as unknown as Run;
  r.waits = () => r.statuses.flatMap((s) => (s.type === 'lost' ? [s.wait] : []));
  r.types = () => r.statuses.map((s) => s.type);
  r.follow = new Follow(request, 's1', {
    random: () => 0,
    onStatus: (s) => r.statuses.push(s),
    onEnd: (e) => r.ends.push(e),
    onActivity: () => r.activity++,
    ...options,
    onEvent: (e) => {
      r.ids.push(e.id);
      r.events.push(e);
      options.onEvent?.(e);
    },
  });
  return r;
}

/** Lets virtual time pass. */
export const tick = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
export const range = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);
export const refuse = (status: number, headers: Record<string, string> = {}, body: unknown = { code: 'x', detail: 'because' }) => (): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/problem+json', ...headers } });

/** Answers with all that a session with this last event has past the cursor. */
export const serve = (last: number): Answer => (line) => {
  if (line.after > last) return refuse(416)();
  if (line.after === last) return new Response(null, { status: 204 });
  line.write(wireRange(line.after + 1, last - 1) + wireDone(last));
};

/** When what has arrived is drawn: whole chunks, a few each frame. */

import type { StreamEvent } from '../client/index.ts';

/** Time in which a full queue is drawn, in milliseconds. */
export const DRAIN = 200;

/** How many of a queue to draw in a frame that comes elapsed milliseconds after the last. */
export function share(queued: number, elapsed: number): number {
  return Math.min(queued, Math.max(1, Math.ceil((queued * elapsed) / DRAIN)));
}

/** Calls back once before the next paint, or soon if nothing is painted; returns what cancels. */
export type Schedule = (callback: (time: number) => void) => () => void;

export interface PacerOptions {
  readonly draw: (events: readonly StreamEvent[]) => void;
  readonly schedule: Schedule;
  /** Whether to draw all at once: nobody sees the frames, or nobody wants them. */
  readonly atOnce: () => boolean;
}

/** A Pacer holds the events that have arrived and are not drawn. */
export class Pacer {
  readonly #options: PacerOptions;
  #queue: StreamEvent[] = [];
  #cancel: (() => void) | undefined;
  #last: number | undefined; // time of the last frame in a row of frames

  /** Events up to this id are history, and drawn in one go. */
  history = 0;

  constructor(options: PacerOptions) {
    this.#options = options;
  }

  push(event: StreamEvent): void {
    this.#queue.push(event);
    this.#cancel ??= this.#options.schedule(this.#frame);
  }

  /** Throws away what is not drawn. */
  clear(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#last = undefined;
    this.#queue = [];
  }

  /** Gives out what is not drawn, and has it no more. */
  take(): readonly StreamEvent[] {
    const events = this.#queue;
    this.clear();
    return events;
  }

  /** Draws everything now. */
  flush(): void {
    const events = this.take();
    if (events.length > 0) this.#options.draw(events);
  }

  readonly #frame = (time: number): void => {
    this.#cancel = undefined;
    const elapsed = this.#last === undefined ? 1000 / 60 : Math.max(1, time - this.#last);
    this.#last = time;
    const past = this.#queue.findIndex((event) => event.id > this.history);
    const old = past < 0 ? this.#queue.length : past;
    const fresh = this.#queue.length - old;
    const take = old + (this.#options.atOnce() ? fresh : fresh > 0 ? share(fresh, elapsed) : 0);
    const events = this.#queue.splice(0, take);
    if (this.#queue.length > 0) this.#cancel = this.#options.schedule(this.#frame);
    else this.#last = undefined;
    // Last, because drawing may clear this pacer.
    this.#options.draw(events);
  };
}

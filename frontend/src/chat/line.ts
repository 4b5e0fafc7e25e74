/** The page's line to a session, and what it has brought that is not drawn. */

import { CutError, type Client, type End, type Follow, type Status, type StreamEvent } from '../client/index.ts';
import { Pacer, type Schedule } from './pacer.ts';

export interface LineOptions {
  readonly client: Client;
  readonly schedule: Schedule;
  /** Whether to draw all at once. */
  readonly atOnce: () => boolean;
  readonly draw: (events: readonly StreamEvent[]) => void;
  /** The last event drawn. */
  readonly cursor: () => number;
  /** Called as events come, before they are drawn. */
  readonly onEvent: (event: StreamEvent) => void;
  readonly onStatus: (status: Status) => void;
  /** Called when nothing more comes, while more is wanted. */
  readonly onEnd: (end: End) => void;
}

/** A Line reads one session after the other. After hangUp nothing comes and nothing is drawn until listen. */
export class Line {
  readonly #options: LineOptions;
  readonly #pacer: Pacer;
  #follow: Follow | undefined;
  #pace: number | undefined;
  #received = 0;
  #askedAt = -Infinity;

  constructor(options: LineOptions) {
    this.#options = options;
    const { draw, schedule, atOnce } = options;
    this.#pacer = new Pacer({ draw, schedule, atOnce });
  }

  /** Events a second that are asked for, 0 as they come; undefined if none are wanted. */
  get pace(): number | undefined {
    return this.#pace;
  }

  /** The last event that has come since listen, or what it began after. */
  get received(): number {
    return this.#received;
  }

  /** When events were last asked for, by performance.now. */
  get askedAt(): number {
    return this.#askedAt;
  }

  /** Whether the session was ever asked for its events. */
  get begun(): boolean {
    return this.#follow !== undefined;
  }

  /** Events up to this id are drawn in one go. */
  get history(): number {
    return this.#pacer.history;
  }

  set history(id: number) {
    this.#pacer.history = id;
  }

  /** Asks for what comes after the last event drawn. What was asked for before is given up. */
  listen(id: string, pace: number): void {
    this.hangUp();
    const after = this.#options.cursor();
    this.#received = after;
    this.#pace = pace;
    this.#askedAt = performance.now();
    if (this.#follow === undefined) {
      this.#follow = this.#begin(id, after, pace);
      return;
    }
    this.#follow.seek(after);
    this.#follow.setPace(pace);
    this.#follow.resume();
  }

  /** Lets go of the line, and of what is not drawn. */
  hangUp(): void {
    this.#pace = undefined;
    this.#follow?.pause();
    this.#pacer.clear();
  }

  /** Leaves the session. */
  close(): void {
    this.hangUp();
    this.#follow?.close();
    this.#follow = undefined;
    this.#received = this.#pacer.history = 0;
    this.#askedAt = -Infinity;
  }

  /** Draws what has come. */
  flush(): void {
    this.#pacer.flush();
  }

  /** Gives out what has come and is not drawn; it will not be drawn by itself. */
  take(): readonly StreamEvent[] {
    return this.#pacer.take();
  }

  /** Drops the line, as a broken network would. */
  cut(): void {
    this.#follow?.cut();
  }

  /** The network, or who looks at the page, is back. */
  wake(): void {
    this.#follow?.wake();
  }

  #begin(id: string, after: number, pace: number): Follow {
    const { client, cursor, onStatus, onEnd } = this.#options;
    const follow: Follow = client.follow(id, {
      after,
      pace,
      cursor: (cause) => {
        // A cut shows what is asked for again; of a broken line, what came whole is kept, or it might never get on.
        if (cause instanceof CutError) this.#pacer.clear();
        else this.#pacer.flush();
        return (this.#received = cursor());
      },
      onEvent: (event) => {
        this.#received = event.id;
        this.#pacer.push(event);
        this.#options.onEvent(event);
      },
      onStatus: (status) => {
        if (this.#follow === follow) onStatus(status);
      },
      onEnd: (end) => {
        if (this.#follow === follow && this.#pace !== undefined) onEnd(end);
      },
    });
    return follow;
  }
}

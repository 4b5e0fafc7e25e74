/** Asks what the events do not say: how far a session is, and how many read along. */

import type { Session } from '../client/index.ts';

/** Time between two questions, in milliseconds. */
export const INTERVAL = 2500;

export interface WatchOptions {
  readonly ask: (signal: AbortSignal) => Promise<Session>;
  readonly tell: (session: Session) => void;
}

/** A Watch asks in turn: the time to the next question begins with the answer to the last. */
export class Watch {
  readonly #options: WatchOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking: AbortController | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  get running(): boolean {
    return this.#timer !== undefined || this.#asking !== undefined;
  }

  /** Begins, with a first question after the delay in milliseconds. Nothing happens if it runs already. */
  start(delay = INTERVAL): void {
    if (!this.running) this.#timer = setTimeout(() => void this.#ask(), delay);
  }

  /** Ends it: an answer that is on its way is told to nobody. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#asking?.abort();
    this.#asking = undefined;
  }

  async #ask(): Promise<void> {
    this.#timer = undefined;
    const asking = (this.#asking = new AbortController());
    let session: Session | undefined;
    try {
      session = await this.#options.ask(asking.signal);
    } catch {
      // The line tells what becomes of the server and the session; the next question may fare better.
    }
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    this.start(); // before it is told, because that may stop it
    if (session !== undefined) this.#options.tell(session);
  }
}

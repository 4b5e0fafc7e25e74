/** Asks what the events do not say: how far a session is, and how many read along. */

import { persist, type Session } from '../client/index.ts';

/** Time between two questions, in milliseconds. */
export const INTERVAL = 2500;

/** How long an answer may take, in milliseconds; then the question is given up, as if the server were away. */
export const LIMIT = 10_000;

export interface WatchOptions {
  readonly ask: (signal: AbortSignal) => Promise<Session>;
  readonly tell: (session: Session) => void;
  /** Called with each failure: one that may pass is asked again soon, one that is final in its time. */
  readonly onFailure: (error: unknown, final: boolean) => void;
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
    const { ask, tell, onFailure } = this.#options;
    const asking = (this.#asking = new AbortController());
    const { signal } = asking;
    let told: () => void;
    try {
      const session = await persist(() => limited(ask, signal), { signal, onFailure: (error) => onFailure(error, false) });
      told = () => tell(session);
    } catch (error) {
      told = () => onFailure(error, true);
    }
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    this.start(); // before it is told, because that may stop it
    told();
  }
}

/** Calls with a signal that fires with the other, or when the answer takes too long. */
export async function limited<T>(call: (signal: AbortSignal) => Promise<T>, other: AbortSignal): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new TypeError('no answer in time')), LIMIT); // as a fetch that fails
  try {
    return await call(AbortSignal.any([other, late.signal]));
  } finally {
    clearTimeout(timer);
  }
}

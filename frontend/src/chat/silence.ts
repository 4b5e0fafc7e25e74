/** Asks the relay why nothing comes, when nothing does. */

import { ProblemError } from '../client/index.ts';
import { diskOf, type Disk } from './trouble.ts';

/** How long nothing comes before the relay is asked why, and between two such questions, in milliseconds. */
const SILENCE = 5000;

export interface SilenceOptions {
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** Told when the relay's disk is, or is not any more, why nothing comes. */
  readonly onChange: (disk: Disk | undefined) => void;
}

/** A Silence is measured from the last event, or from when the line was asked for. */
export class Silence {
  readonly #options: SilenceOptions;
  #disk: Disk | undefined;
  #heardAt = 0;
  #askedAt = -Infinity;
  #asking: AbortController | undefined;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** What the relay's disk does, while that is why nothing comes. */
  get disk(): Disk | undefined {
    return this.#disk;
  }

  /** Something has come, or is waited for from now on. */
  heard(time: number): void {
    this.#heardAt = time;
    this.cancel();
  }

  /** Takes back a question that has no answer yet. */
  cancel(): void {
    this.#asking?.abort();
    this.#asking = undefined;
  }

  /** Forgets what was found, and tells nobody. */
  clear(): void {
    this.cancel();
    this.#disk = undefined;
  }

  /** Looks at the time, while a line is open and something is due. */
  check(time: number): void {
    if (this.#asking !== undefined || time - this.#heardAt < SILENCE || time - this.#askedAt < SILENCE) return;
    this.#askedAt = time;
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const asking = (this.#asking = new AbortController());
    let disk: Disk | undefined;
    try {
      await this.#options.ready(asking.signal);
    } catch (error) {
      disk = error instanceof ProblemError ? diskOf(error) : this.#disk; // without an answer, as it was
    }
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    if (disk === this.#disk) return;
    this.#disk = disk;
    this.#options.onChange(disk);
  }
}

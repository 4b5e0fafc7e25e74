/** How fast text comes, and how fast it was written. */

import type { Session } from '../client/index.ts';

const WINDOW = 2000; // milliseconds

/** Events a second over the last moments. */
export class Rate {
  #marks: { time: number; count: number }[] = [];

  add(count: number, time: number): void {
    this.#marks.push({ time, count });
  }

  /** Zero until two marks are in the window. */
  at(time: number): number {
    const from = time - WINDOW;
    this.#marks = this.#marks.filter((mark) => mark.time > from);
    const [first, ...rest] = this.#marks;
    if (first === undefined || rest.length === 0) return 0;
    const events = rest.reduce((sum, mark) => sum + mark.count, 0);
    return (events * 1000) / Math.max(1, time - first.time);
  }

  clear(): void {
    this.#marks = [];
  }
}

/** Tokens a second of a session that has ended, pauses apart where the server knows of them; undefined if it gives no figures. */
export function tokensPerSecond({ usage, timings }: Session): number | undefined {
  const between = timings?.between_tokens_ms;
  if (between !== undefined && between > 0) return 1000 / between;
  const tokens = usage?.output_tokens;
  if (tokens === undefined || timings?.first_text === undefined || timings.ended === undefined) return undefined;
  const seconds = (Date.parse(timings.ended) - Date.parse(timings.first_text)) / 1000;
  return seconds > 0 ? tokens / seconds : undefined;
}

/** Events a second over the last moments. */

const WINDOW = 2000; // milliseconds

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

/** What has been drawn of a session, and what of that is on the page. */

import type { StreamEvent } from '../client/index.ts';
import type { Sink } from './answer.ts';
import { Picture } from './picture.ts';

/**
 * A Drawing keeps the events that it was given, from the first on and without a gap, so that it can show the session
 * up to any of them.
 */
export class Drawing {
  readonly #answer: Sink;
  readonly #reasoning: Sink;
  #log: StreamEvent[] = [];
  #cursor = 0;
  #picture = new Picture();

  constructor(answer: Sink, reasoning: Sink) {
    this.#answer = answer;
    this.#reasoning = reasoning;
  }

  /** The last event shown. */
  get cursor(): number {
    return this.#cursor;
  }

  /** The last event that is kept. */
  get kept(): number {
    return this.#log.length;
  }

  /** What the events up to the cursor make. */
  get picture(): Picture {
    return this.#picture;
  }

  /** The answer up to the cursor. */
  get text(): string {
    let text = '';
    for (const event of this.#log.slice(0, this.#cursor)) if (event.type === 'text') text += event.text;
    return text;
  }

  /** Keeps events without showing them. Those that it has are the same. */
  keep(events: readonly StreamEvent[]): void {
    for (const event of events) if (event.id === this.#log.length + 1) this.#log.push(event);
  }

  /** Shows events that follow on the cursor; returns those that are news, and were not kept before. */
  add(events: readonly StreamEvent[]): readonly StreamEvent[] {
    const { kept } = this;
    this.keep(events);
    return this.#append(events).filter((event) => event.id > kept);
  }

  /** Shows the session up to an event that is kept. */
  show(id: number): void {
    if (id >= this.#cursor) {
      this.#append(this.#log.slice(this.#cursor, id));
      return;
    }
    this.#picture = new Picture();
    const { answer, reasoning } = this.#picture.add(this.#log.slice(0, id));
    this.#answer.replace(answer);
    this.#reasoning.replace(reasoning);
    this.#cursor = id;
  }

  /** Nothing comes after what is shown. */
  end(): void {
    this.#answer.end();
    this.#reasoning.end();
    this.sync();
  }

  sync(): void {
    this.#answer.sync();
    this.#reasoning.sync();
  }

  clear(): void {
    this.#log = [];
    this.#cursor = 0;
    this.#picture = new Picture();
    this.#answer.clear();
    this.#reasoning.clear();
  }

  #append(events: readonly StreamEvent[]): readonly StreamEvent[] {
    const { answer, reasoning, news } = this.#picture.add(events);
    this.#answer.append(answer);
    this.#reasoning.append(reasoning);
    this.#cursor = events.at(-1)?.id ?? this.#cursor;
    return news;
  }
}

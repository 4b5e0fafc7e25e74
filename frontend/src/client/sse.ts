/**
 * An incremental parser of server-sent events, by section 9.2 of the HTML
 * standard. It takes bytes cut anywhere, and differs from `EventSource` in two
 * ways: comments are seen (they are the keep-alives a watchdog lives on), and
 * an event says whether it carried an id of its own.
 */

/** Largest event taken, in UTF-16 code units, when the caller names none. */
export const DEFAULT_MAX_EVENT_SIZE = 1 << 20;

/** One dispatched event. */
export interface ServerSentEvent {
  /** The `event` field, or '' if there was none; a browser would say "message". */
  readonly name: string;
  /** The `data` lines, joined by LF. */
  readonly data: string;
  /** The `id` field of this very event, or undefined if it had none that counts. */
  readonly id: string | undefined;
  /** The id in force after this event: its own, or the last one before it. */
  readonly lastEventId: string;
}

/** Receives what a Parser finds, in the order of the stream. */
export interface ParserHandlers {
  event(event: ServerSentEvent): void;
  /** A comment line, without its colon. */
  comment?(text: string): void;
  /** A reconnection time, in milliseconds. */
  retry?(milliseconds: number): void;
}

export interface ParserOptions {
  /** Bound on one event or line, in UTF-16 code units. */
  readonly maxEventSize?: number;
}

/** Reports an event, or a line without an end, past the size limit. */
export class EventTooLargeError extends Error {
  override readonly name = 'EventTooLargeError';
  readonly limit: number;

  constructor(limit: number) {
    super(`server-sent event larger than ${limit} code units`);
    this.limit = limit;
  }
}

/**
 * A Parser turns bytes into events. What is unfinished when the bytes end is
 * dropped with the parser: there is no method to flush it.
 */
export class Parser {
  readonly #handlers: ParserHandlers;
  readonly #limit: number;
  // ignoreBOM keeps the decoder from removing a BOM, so that the one rule for it stands here.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  #started = false; // whether the first character has been seen
  #afterCR = false; // the last character was a CR: an LF now belongs to it
  #line = ''; // the unfinished line
  #size = 0; // of the unfinished event, without the unfinished line

  #name = '';
  #data = '';
  #hasData = false;
  #id: string | undefined; // of the unfinished event
  #idBuffer = '';
  #lastEventId = '';

  constructor(handlers: ParserHandlers, options: ParserOptions = {}) {
    this.#handlers = handlers;
    this.#limit = options.maxEventSize ?? DEFAULT_MAX_EVENT_SIZE;
  }

  /** The id of the last whole event; an id whose event is unfinished does not count. */
  get lastEventId(): string {
    return this.#lastEventId;
  }

  /** Takes the next bytes. Throws EventTooLargeError, after which the parser is of no use. */
  push(bytes: Uint8Array): void {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return;
    if (!this.#started) {
      this.#started = true;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }

    let start = 0;
    if (this.#afterCR && text !== '') {
      if (text.startsWith('\n')) start = 1;
      this.#afterCR = false;
    }
    let cr = text.indexOf('\r', start);
    let lf = text.indexOf('\n', start);
    while (cr >= 0 || lf >= 0) {
      const end = cr < 0 ? lf : lf < 0 ? cr : Math.min(cr, lf);
      const line = this.#line + text.slice(start, end);
      this.#line = '';
      start = end + 1;
      if (end === cr) {
        if (start === text.length) this.#afterCR = true;
        else if (text.startsWith('\n', start)) start++;
      }
      this.#take(line);
      if (cr >= 0 && cr < start) cr = text.indexOf('\r', start);
      if (lf >= 0 && lf < start) lf = text.indexOf('\n', start);
    }
    this.#line += text.slice(start);
    this.#check(this.#line.length);
  }

  #take(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) {
      this.#check(line.length);
      this.#handlers.comment?.(line.slice(1));
      return;
    }
    this.#check(line.length);
    this.#size += line.length;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);

    switch (field) {
      case 'data':
        this.#data = this.#hasData ? `${this.#data}\n${value}` : value;
        this.#hasData = true;
        break;
      case 'event':
        this.#name = value;
        break;
      case 'id':
        if (!value.includes('\0')) {
          this.#id = value;
          this.#idBuffer = value;
        }
        break;
      case 'retry':
        if (/^[0-9]+$/.test(value)) this.#handlers.retry?.(Number(value));
        break;
    }
  }

  #dispatch(): void {
    const event = { name: this.#name, data: this.#data, id: this.#id, lastEventId: this.#idBuffer };
    const complete = this.#hasData;
    this.#lastEventId = this.#idBuffer;
    this.#name = '';
    this.#data = '';
    this.#hasData = false;
    this.#id = undefined;
    this.#size = 0;
    if (complete) this.#handlers.event(event);
  }

  #check(more: number): void {
    if (this.#size + more > this.#limit) throw new EventTooLargeError(this.#limit);
  }
}

/** One connection to the events of a session, from its request to its loss. */

import { ProblemError } from './client.ts';
import { decode, ProtocolError, type StreamEvent } from './event.ts';
import { bounded } from './retry.ts';
import { Parser, type ServerSentEvent } from './sse.ts';

/** A response body that ended before the session did. */
export class BrokenLineError extends Error {
  override readonly name = 'BrokenLineError';
}

/** What a Line needs of fetch; the client adds base and headers. */
export type Request = (url: string, init: RequestInit & { headers: Record<string, string> }) => Promise<Response>;

export interface LineOptions {
  /** The session. */
  readonly id: string;
  /** What is asked for begins after this id. */
  readonly after: number;
  /** Events a second; 0, as they come. */
  readonly pace: number;
  /** Silence, in milliseconds, after which the line drops itself while somebody waits for it; an hour at most. */
  readonly idleTimeout: number;
  /** Bytes have come. It may drop the line. */
  readonly onActivity: () => void;
}

/** What stands on a line: an event, or the milliseconds of a `retry:` in its place among them. */
export type Item = StreamEvent | number;

/**
 * A Line is opened once, then read as long as its items are wanted. It neither
 * looks at the order of ids nor asks a second time.
 */
export class Line {
  /** The id that it was asked to begin after. */
  readonly after: number;
  /** What has come and has not been taken. Empty once the line is dropped. */
  readonly items: Item[] = [];

  readonly #request: Request;
  readonly #options: LineOptions;
  readonly #abort = new AbortController();
  readonly #raw: (ServerSentEvent | number)[] = [];
  readonly #parser = new Parser({ event: (event) => this.#raw.push(event), retry: (milliseconds) => this.#raw.push(milliseconds) });
  #response: Response | undefined;
  #body: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #failed: { readonly error: unknown } | undefined; // after the items before it
  #heard = Date.now(); // by the clock, which goes on while a machine sleeps

  constructor(request: Request, options: LineOptions) {
    this.#request = request;
    this.#options = options;
    this.after = options.after;
  }

  /** Whether the server has answered with a stream. */
  get opened(): boolean {
    return this.#body !== undefined;
  }

  get dropped(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Milliseconds since anything last came. */
  get silence(): number {
    return Date.now() - this.#heard;
  }

  /** Lets go of the connection. Whoever waits for the line, or does later, gets the first cause given. */
  drop(cause?: unknown): void {
    this.#abort.abort(cause);
    this.items.length = 0;
    // Frees the response, and a read that waits for it, whether or not fetch itself heeds the signal.
    (this.#body ?? this.#response?.body)?.cancel().catch(() => {});
  }

  /** Sends the request. False if the server has nothing past `after`. */
  async open(): Promise<boolean> {
    const { id, after, pace } = this.#options;
    const { signal } = this.#abort;
    signal.throwIfAborted();
    const query = new URLSearchParams();
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (after > 0) headers['Last-Event-ID'] = String(after);
    else query.set('after', '0');
    if (pace > 0) query.set('pace', String(pace));
    const search = query.toString();
    const url = `/v1/sessions/${encodeURIComponent(id)}/events${search === '' ? '' : `?${search}`}`;

    const response = await this.#watch(this.#request(url, { headers, cache: 'no-store', signal }).then((given) => this.#hold(given)));
    this.#hear();
    if (response.status === 204) return false;
    if (response.status !== 200) throw await this.#watch(ProblemError.from(response));
    const type = response.headers.get('content-type') ?? '';
    if (!/^text\/event-stream\s*(;|$)/i.test(type)) {
      throw new ProtocolError(`the answer is ${type === '' ? 'of no type' : type}, not an event stream`);
    }
    if (response.body === null) throw new BrokenLineError('the answer has no body');
    this.#body = response.body.getReader();
    return true;
  }

  /** Waits for bytes and adds the items that they complete, which may be none. Rejects when the line is over. */
  async read(): Promise<void> {
    this.#abort.signal.throwIfAborted();
    if (this.#failed !== undefined) throw this.#failed.error;
    if (this.#body === undefined) throw new Error('the line is not open');
    const { done, value } = await this.#watch(this.#body.read());
    if (done) throw new BrokenLineError('the line ended before the session did');
    this.#hear();
    try {
      this.#parser.push(value);
    } catch (error) {
      this.#failed = { error };
    }
    for (const raw of this.#raw.splice(0)) {
      try {
        const item = typeof raw === 'number' ? raw : decode(raw);
        if (item !== undefined) this.items.push(item);
      } catch (error) {
        this.#failed = { error };
        break;
      }
    }
  }

  /** Holds the response, for drop to free. */
  #hold(response: Response): Response {
    this.#response = response;
    if (this.dropped) this.drop(); // it comes late
    return response;
  }

  #hear(): void {
    this.#heard = Date.now();
    this.#options.onActivity();
    this.#abort.signal.throwIfAborted();
  }

  /** Settles as promise does, or rejects when the line is dropped; and drops it when that takes too long. */
  async #watch<T>(promise: Promise<T>): Promise<T> {
    const idleTimeout = bounded(this.#options.idleTimeout);
    const { signal } = this.#abort;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let onAbort: (() => void) | undefined;
    try {
      const value = await new Promise<T>((resolve, reject) => {
        promise.then(resolve, reject); // always, or its failure after an abort is nobody's
        onAbort = (): void => reject(signal.reason);
        if (signal.aborted) return onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        timer = setTimeout(() => this.drop(new BrokenLineError(`nothing came for ${idleTimeout} ms`)), idleTimeout);
      });
      signal.throwIfAborted(); // dropped since the promise was settled
      return value;
    } finally {
      clearTimeout(timer);
      if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
    }
  }
}

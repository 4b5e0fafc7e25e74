/**
 * Reads the events of one session, each exactly once and in order, over as many
 * connections as that takes.
 */

import { ProblemError } from './client.ts';
import { decode, ProtocolError, type StreamEvent, type TerminalEvent } from './event.ts';
import { DEFAULT_MAX_RETRY, jittered } from './retry.ts';
import { EventTooLargeError, Parser, type ServerSentEvent } from './sse.ts';

export interface FollowOptions {
  /** The last id that the caller has: reading begins after it. 0, the default, is the start. */
  readonly after?: number;
  /** Events a second for this reader alone; 0 or absent, as they come. */
  readonly pace?: number;
  /** Ends the reading, as close does. */
  readonly signal?: AbortSignal;
  /**
   * Called when a line is lost: the id to go on after. What has been delivered
   * past it is delivered again, so the caller must have dropped it. Default is
   * the last id delivered. The cause is a CutError if the reader itself cut it.
   */
  readonly cursor?: (cause: unknown) => number;
  /** Silence, in milliseconds, after which a line counts as lost. Keep-alives are no silence. Default 45 000. */
  readonly idleTimeout?: number;
  /** Wait before the first try after a line that moved the cursor, in milliseconds. Default 200. */
  readonly quickRetry?: number;
  /** Longest wait that back-off grows to, in milliseconds. Default 1500. `retry:` and Retry-After may ask for more. */
  readonly maxRetry?: number;
  /** Lines in a row that did not move the cursor after which reading fails. Default: no bound. */
  readonly maxAttempts?: number;
  /** A number from 0 up to 1, for the jitter. Default Math.random. */
  readonly random?: () => number;

  /** With it, reading begins by itself, after the call, and events arrive here; without, by iteration. */
  readonly onEvent?: (event: StreamEvent) => void;
  /** With onEvent: called once, last. */
  readonly onEnd?: (end: End) => void;
  /** What becomes of the line. */
  readonly onStatus?: (status: Status) => void;
  /** Bytes have come, if only a keep-alive. */
  readonly onActivity?: () => void;
}

export type Status =
  /** A request goes out. attempt counts the lines in a row that did not move the cursor. */
  | { readonly type: 'connecting'; readonly after: number; readonly attempt: number }
  /** The server has answered with a stream. */
  | { readonly type: 'open'; readonly after: number }
  /** The line was lost with `after` as cursor; the next request goes out in `wait` milliseconds. */
  | { readonly type: 'lost'; readonly after: number; readonly wait: number; readonly cause: unknown }
  /** The first new event since the line was lost is about to be delivered. */
  | ({ readonly type: 'back' } & Resumption)
  /** An id came too early. The line is dropped and the missing ids are asked for. */
  | { readonly type: 'gap'; readonly expected: number; readonly got: number };

/** One loss of the line and what the check of ids found after it. */
export interface Resumption {
  /** The cursor when the line was lost. */
  readonly cut: number;
  /** The first id after it. */
  readonly back: number;
  /** Time between the two, in milliseconds. */
  readonly duration: number;
  /** Ids that were skipped on the way; each has been asked for again. */
  readonly missing: number;
  /** Events that came though they had been delivered; each has been dropped. */
  readonly repeated: number;
}

export interface Counters {
  readonly connections: number;
  readonly delivered: number;
  readonly missing: number;
  readonly repeated: number;
}

export type End =
  /** The session's own last event was delivered. */
  | { readonly type: 'terminal'; readonly event: TerminalEvent }
  /** The server has nothing past the cursor: the last event was delivered before. */
  | { readonly type: 'nothing-more' }
  | { readonly type: 'closed' }
  | { readonly type: 'error'; readonly error: unknown };

/** A response body that ended before the session did. */
export class BrokenLineError extends Error {
  override readonly name = 'BrokenLineError';
}

/** The line was dropped by Follow.cut. */
export class CutError extends Error {
  override readonly name = 'CutError';
}

/** Reports ids that the server left out, and did so each time it was asked. */
export class GapError extends Error {
  override readonly name = 'GapError';
  readonly expected: number;
  readonly got: number;

  constructor(expected: number, got: number) {
    super(`event ${got} came where ${expected} was due`);
    this.expected = expected;
    this.got = got;
  }
}

const DEFAULT_IDLE_TIMEOUT = 45_000;
const DEFAULT_QUICK_RETRY = 200;
const DEFAULT_RETRY = 1000; // until the server's own `retry:`
const GAP_TRIES = 3;

/**
 * Silence, in milliseconds, that makes a line suspect to wake: of one that is open,
 * more than a keep-alive every 15 s; of a request without an answer yet.
 */
const SUSPECT_OPEN = 20_000;
const SUSPECT_REQUEST = 2_000;

/** What Follow needs of fetch; the client adds base and headers. */
export type Request = (url: string, init: RequestInit & { headers: Record<string, string> }) => Promise<Response>;

/**
 * A Follow reads once: iterate it, or give onEvent. It ends with the session's
 * terminal event, with close, or with an error that another try would not mend.
 * By iteration that error is thrown.
 */
export class Follow implements AsyncIterable<StreamEvent> {
  readonly #request: Request;
  readonly #id: string;
  readonly #options: FollowOptions;
  readonly #random: () => number;

  #delivered: number;
  #started = false;
  #closed = false;
  #end: End = { type: 'closed' };
  #line: AbortController | undefined;
  #thrown: { readonly error: unknown } | undefined; // by a callback of the caller
  #wakeUp: (() => void) | undefined;
  #open = false; // whether the line's answer has come
  #heard = 0; // when anything last came over the line; by the clock, which goes on while a machine sleeps
  #hurry = false; // no wait before the next try
  #retry = DEFAULT_RETRY;
  #counters = { connections: 0, delivered: 0, missing: 0, repeated: 0 };

  constructor(request: Request, id: string, options: FollowOptions = {}) {
    this.#request = request;
    this.#id = id;
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#delivered = options.after ?? 0;
    if (options.signal?.aborted) this.#closed = true;
    else options.signal?.addEventListener('abort', this.#onAbort);
    // Not before the caller holds this Follow: its callbacks may want it.
    const { onEvent } = options;
    if (onEvent !== undefined) queueMicrotask(() => void this.#drain(onEvent));
  }

  /** The last id delivered. */
  get cursor(): number {
    return this.#delivered;
  }

  get counters(): Counters {
    return { ...this.#counters };
  }

  /** Ends the reading: nothing is delivered after it. The session goes on. */
  close(): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#closed = true;
    this.#line?.abort();
    this.#wakeUp?.();
  }

  /** Drops the line, as a broken network would. */
  cut(): void {
    this.#line?.abort(new CutError('the line was cut'));
  }

  /**
   * Tells that the network, or who looks at the text, is back: a wait between two
   * tries ends, and a line that has been silent for suspiciously long is asked for anew.
   */
  wake(): void {
    if (this.#wakeUp !== undefined) {
      this.#wakeUp();
      return;
    }
    const silence = Date.now() - this.#heard;
    if (this.#line === undefined || this.#line.signal.aborted || silence <= (this.#open ? SUSPECT_OPEN : SUSPECT_REQUEST)) return;
    this.#hurry = true;
    this.#line.abort(new BrokenLineError(`nothing came for ${silence} ms`));
  }

  readonly #onAbort = (): void => this.close();

  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined> {
    return this.#events();
  }

  async #drain(onEvent: (event: StreamEvent) => void): Promise<void> {
    try {
      for await (const event of this.#events()) onEvent(event);
    } catch (error) {
      this.#end = { type: 'error', error };
    }
    this.#options.onEnd?.(this.#end);
  }

  async *#events(): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#started) throw new Error('a Follow can be read once');
    this.#started = true;

    let fruitless = 0; // lines in a row that did not move the cursor
    let gaps = 0; // of them, those that ended with the same gap
    let lost: { cut: number; at: number; missing: number; repeated: number } | undefined;
    try {
      while (!this.#closed) {
        const line = new AbortController();
        this.#line = line;
        this.#open = this.#hurry = false;
        this.#heard = Date.now();
        this.#counters.connections++;
        this.#status({ type: 'connecting', after: this.#delivered, attempt: fruitless });
        const start = this.#delivered;
        let patient = false; // the server has asked to wait since the last event
        let cause: unknown;
        try {
          const response = await this.#ask(line);
          if (response === undefined) {
            this.#end = { type: 'nothing-more' };
            return;
          }
          this.#open = true;
          if (!this.#closed) this.#status({ type: 'open', after: this.#delivered });
          const onRetry = (milliseconds: number): void => {
            this.#retry = milliseconds;
            patient = true;
          };
          for await (const event of this.#read(response, line, onRetry)) {
            if (lost !== undefined) {
              this.#status({
                type: 'back',
                cut: lost.cut,
                back: event.id,
                duration: now() - lost.at,
                missing: this.#counters.missing - lost.missing,
                repeated: this.#counters.repeated - lost.repeated,
              });
              lost = undefined;
            }
            patient = false;
            this.#delivered = event.id;
            this.#counters.delivered++;
            if (event.type === 'end') {
              this.#end = { type: 'terminal', event };
              line.abort(); // before the caller has it: a done reader holds no line
              yield event;
              return;
            }
            yield event;
            line.signal.throwIfAborted(); // cut or closed, while the caller had the event
          }
        } catch (error) {
          cause = error;
        } finally {
          line.abort();
        }
        if (this.#thrown !== undefined) throw this.#thrown.error;
        if (this.#closed) return;

        const after = this.#options.cursor?.(cause) ?? this.#delivered;
        const fruitful = after > start;
        if (fruitful) fruitless = gaps = 0;
        if (cause instanceof GapError && ++gaps >= GAP_TRIES) throw cause;
        if (isFinal(cause)) throw cause;

        const missing = this.#counters.missing - (cause instanceof GapError ? cause.got - cause.expected : 0);
        this.#delivered = after;
        lost ??= { cut: after, at: now(), missing, repeated: this.#counters.repeated };
        const quick = fruitful && !patient && !(cause instanceof GapError);
        if (!fruitful && fruitless + 1 >= (this.#options.maxAttempts ?? Infinity)) throw cause;
        const wait = this.#hurry ? 0 : this.#wait(quick ? undefined : fruitless, cause);
        if (!fruitful) fruitless++;
        this.#status({ type: 'lost', after, wait, cause });
        if (!this.#closed) await this.#sleep(wait);
      }
    } finally {
      this.close();
    }
  }

  /** The response if it is a stream, undefined if there is nothing more. */
  async #ask(line: AbortController): Promise<Response | undefined> {
    const after = this.#delivered;
    const query = new URLSearchParams();
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (after > 0) headers['Last-Event-ID'] = String(after);
    else query.set('after', '0');
    if (this.#options.pace) query.set('pace', String(this.#options.pace));
    const search = query.toString();
    const url = `/v1/sessions/${encodeURIComponent(this.#id)}/events${search === '' ? '' : `?${search}`}`;

    const response = await this.#watch(line, this.#request(url, { headers, cache: 'no-store', signal: line.signal }));
    this.#hear();
    if (response.status === 204) return undefined;
    if (response.status !== 200) throw await this.#watch(line, ProblemError.from(response));
    const type = response.headers.get('content-type') ?? '';
    if (!/^text\/event-stream\s*(;|$)/i.test(type)) {
      throw new ProtocolError(`the answer is ${type === '' ? 'of no type' : type}, not an event stream`);
    }
    return response;
  }

  /** Events past the cursor; it ends by throwing, unless its caller leaves. */
  async *#read(response: Response, line: AbortController, onRetry: (milliseconds: number) => void): AsyncGenerator<StreamEvent, never, undefined> {
    if (response.body === null) throw new BrokenLineError('the answer has no body');
    const reader = response.body.getReader();
    // Frees a read that waits, whether or not fetch itself heeds the signal.
    line.signal.addEventListener('abort', () => void reader.cancel().catch(() => {}), { once: true });
    const pending: (ServerSentEvent | number)[] = []; // a number is a retry, in its place among the events
    const parser = new Parser({ event: (event) => pending.push(event), retry: (milliseconds) => pending.push(milliseconds) });
    for (;;) {
      const { done, value } = await this.#watch(line, reader.read());
      line.signal.throwIfAborted();
      if (done) throw new BrokenLineError('the line ended before the session did');
      this.#hear();
      let failure: unknown;
      try {
        parser.push(value);
      } catch (error) {
        failure = error; // after the whole events before it
      }
      for (const raw of pending.splice(0)) {
        if (typeof raw === 'number') {
          onRetry(raw);
          continue;
        }
        const event = decode(raw);
        if (event !== undefined && this.#isNext(event.id)) yield event;
      }
      if (failure !== undefined) throw failure;
    }
  }

  #isNext(id: number): boolean {
    const expected = this.#delivered + 1;
    if (id === expected) return true;
    if (id < expected) {
      this.#counters.repeated++;
      return false;
    }
    this.#counters.missing += id - expected;
    this.#status({ type: 'gap', expected, got: id });
    throw new GapError(expected, id);
  }

  /** Settles as promise does, or rejects and drops the line when that takes too long. */
  async #watch<T>(line: AbortController, promise: Promise<T>): Promise<T> {
    const idle = this.#options.idleTimeout ?? DEFAULT_IDLE_TIMEOUT;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        promise.then(resolve, reject); // always, or its failure after an abort is nobody's
        onAbort = (): void => reject(line.signal.reason);
        if (line.signal.aborted) return onAbort();
        line.signal.addEventListener('abort', onAbort, { once: true });
        timer = setTimeout(() => line.abort(new BrokenLineError(`nothing came for ${idle} ms`)), idle);
      });
    } finally {
      clearTimeout(timer);
      if (onAbort !== undefined) line.signal.removeEventListener('abort', onAbort);
    }
  }

  /** Milliseconds to the next try. */
  #wait(fruitless: number | undefined, cause: unknown): number {
    const quick = this.#options.quickRetry ?? DEFAULT_QUICK_RETRY;
    const least = Math.max(this.#retry, quick);
    const longest = Math.max(this.#options.maxRetry ?? DEFAULT_MAX_RETRY, least);
    return jittered(fruitless === undefined ? quick : Math.min(longest, least * 2 ** fruitless), cause, this.#random);
  }

  #hear(): void {
    this.#heard = Date.now();
    this.#call(() => this.#options.onActivity?.());
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wakeUp?.(), milliseconds);
      this.#wakeUp = () => {
        clearTimeout(timer);
        this.#wakeUp = undefined;
        resolve();
      };
    });
  }

  #status(status: Status): void {
    this.#call(() => this.#options.onStatus?.(status));
  }

  /** What a callback throws ends the reading, and is not the line's failure. */
  #call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#thrown = { error };
      throw error;
    }
  }
}

/** Whether asking again would give the same. */
function isFinal(error: unknown): boolean {
  if (error instanceof ProblemError) {
    const { status } = error;
    return status < 500 && status !== 408 && status !== 425 && status !== 429;
  }
  return error instanceof ProtocolError || error instanceof EventTooLargeError;
}

function now(): number {
  return performance.now();
}

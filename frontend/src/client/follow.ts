/**
 * Reads the events of one session, each exactly once and in order, over as many
 * connections as that takes.
 */

import { ProblemError } from './client.ts';
import { ProtocolError, type StreamEvent, type TerminalEvent } from './event.ts';
import { BrokenLineError, Line, type Request } from './line.ts';
import { DEFAULT_MAX_RETRY, jittered } from './retry.ts';
import { EventTooLargeError } from './sse.ts';

export { BrokenLineError, type Request } from './line.ts';

export interface FollowOptions {
  /** The last id that the caller has: reading begins after it. 0, the default, is the start. */
  readonly after?: number;
  /** Events a second for this reader alone; 0 or absent, as they come. See setPace. */
  readonly pace?: number;
  /** Ends the reading, as close does. */
  readonly signal?: AbortSignal;
  /**
   * Called when a line is lost: the id to go on after. What has been delivered
   * past it is delivered again, so the caller must have dropped it. Default is
   * the last id delivered, and more than that is a RangeError, which ends the
   * reading: what lies between would be left out. The cause is a CutError if the
   * reader itself cut it.
   */
  readonly cursor?: (cause: unknown) => number;
  /** Silence, in milliseconds, after which a line counts as lost, an hour at most. Keep-alives are no silence. Default 45 000. */
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
  /** With onEvent: called at the end; and again at the next, if seek has gone on after it. */
  readonly onEnd?: (end: End) => void;
  /** What becomes of the line. What pause, resume, seek and setPace do to it is told by the next `connecting` alone. */
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

/** A line that was lost, and the counters then. */
interface Loss {
  readonly cut: number;
  readonly at: number;
  readonly missing: number;
  readonly repeated: number;
}

/**
 * A Follow is a cursor that is read: iterate it, or give onEvent. Reading ends
 * with the session's terminal event, with close, or with an error that another
 * try would not mend; by iteration that error is thrown. After any end but close,
 * seek reads on from elsewhere: with onEvent by itself, else by another iteration.
 *
 * All methods may be called at any time, also from within the callbacks. What was
 * on its way when cut, pause, seek, setPace or close returns is not delivered; what
 * is wanted of it is asked for again. (Only an iterator, if they are called from outside
 * of the loop, may have handed over one event that its body has not seen yet.)
 * What a callback throws ends the reading with that error.
 */
export class Follow implements AsyncIterable<StreamEvent> {
  readonly #request: Request;
  readonly #id: string;
  readonly #options: FollowOptions;
  readonly #random: () => number;

  #cursor: number;
  #pace = 0;
  #paused = false;
  #closed = false;
  #end: End | undefined;
  #reading = false; // whether anybody takes the events

  #line: Line | undefined; // what another one brings is not looked at
  #rouse: (() => void) | undefined; // ends the wait between two lines

  // What has happened since the line was last asked for by the caller.
  #fruitless = 0; // lines in a row that did not move the cursor
  #gaps = 0; // of them, those that ended with the same gap
  #lost: Loss | undefined;

  #patient = false; // the server has asked to wait since the last event
  #hurry = false; // no wait before the next try
  #retry = DEFAULT_RETRY;
  #counters = { connections: 0, delivered: 0, missing: 0, repeated: 0 };

  constructor(request: Request, id: string, options: FollowOptions = {}) {
    this.#request = request;
    this.#id = id;
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#cursor = place(options.after ?? 0);
    this.setPace(options.pace ?? 0);
    this.#listen();
    this.#start();
  }

  /** The last id delivered, or what was sought since: the next event is the one after it. */
  get cursor(): number {
    return this.#cursor;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get counters(): Counters {
    return { ...this.#counters };
  }

  /**
   * Lets go of the line and asks for nothing until resume. The session goes on. A loss that was not
   * made good yet is forgotten. An end that has been reached stays one.
   */
  pause(): void {
    if (this.#closed || this.#paused) return;
    this.#paused = true;
    this.#forget();
    this.#letGo();
  }

  /** Goes on after the cursor, unless that is an end. */
  resume(): void {
    if (this.#closed || !this.#paused) return;
    this.#paused = false;
    this.#rouse?.();
  }

  /**
   * Goes on after this id, at once or, while paused, at resume. It is no loss of the line, and one that
   * was not made good yet is forgotten. An id past the session's last is an error of the server's, 416.
   * What lies between here and an id ahead is not delivered. Throws RangeError if it is no id.
   */
  seek(after: number): void {
    place(after);
    if (this.#closed) return;
    this.#cursor = after;
    this.#end = undefined;
    this.#forget();
    this.#letGo();
    this.#listen();
    this.#start();
  }

  /**
   * Events a second from now on; 0, as they come. An open line is asked for anew if that differs; it is no loss.
   * Throws RangeError if it is negative or not finite. One that is out of the server's bounds is an error of the server's, 400.
   */
  setPace(pace: number): void {
    if (!(pace >= 0 && pace < Infinity)) throw new RangeError(`a pace is 0 or more, not ${pace}`);
    if (pace === this.#pace) return;
    this.#pace = pace;
    if (this.#line?.dropped === false) this.#letGo(); // a lost one is asked for anew in its own time
  }

  /** Ends the reading for good: nothing is delivered after it. The session goes on. */
  close(): void {
    this.#closed = true;
    this.#finish(this.#end ?? { type: 'closed' });
  }

  /** Drops the line, as a broken network would. */
  cut(): void {
    this.#line?.drop(new CutError('the line was cut'));
  }

  /**
   * Tells that the network, or who looks at the text, is back: a wait between two
   * tries ends, and a line that has been silent for suspiciously long is asked for anew.
   */
  wake(): void {
    const line = this.#line;
    if (line === undefined) this.#rouse?.();
    else if (!line.dropped && line.silence > (line.opened ? SUSPECT_OPEN : SUSPECT_REQUEST)) {
      this.#hurry = true;
      line.drop(new BrokenLineError(`nothing came for ${line.silence} ms`));
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#reading || this.#options.onEvent !== undefined) throw new Error('a Follow is read by one at a time');
    this.#reading = true;
    try {
      for (;;) {
        await this.#more();
        const event = this.#take();
        if (event !== undefined) yield event;
        else if (this.#end !== undefined) break;
      }
      if (this.#end.type === 'error') throw this.#end.error;
    } finally {
      this.#reading = false;
      if (this.#end === undefined) this.close(); // the loop was left
    }
  }

  /** Not before the caller holds this Follow: its callbacks may want it. */
  #start(): void {
    const { onEvent } = this.#options;
    if (onEvent === undefined || this.#reading) return;
    this.#reading = true;
    queueMicrotask(() => void this.#drain(onEvent));
  }

  async #drain(onEvent: (event: StreamEvent) => void): Promise<void> {
    for (;;) {
      await this.#more();
      const event = this.#take();
      if (event !== undefined) this.#call(() => onEvent(event));
      else if (this.#end !== undefined) break;
    }
    this.#reading = false;
    this.#options.onEnd?.(this.#end);
  }

  /** Waits until an event is due or the reading has ended, which may be otherwise again when its caller goes on. */
  async #more(): Promise<void> {
    while (this.#due() === undefined && this.#end === undefined) {
      if (this.#paused) await this.#rest();
      else await this.#advance();
    }
  }

  /** The event due, and with it the cursor moves; undefined if there is none now. */
  #take(): StreamEvent | undefined {
    if (this.#due() !== undefined && this.#lost !== undefined) {
      const { cut, at, missing, repeated } = this.#lost;
      this.#lost = undefined;
      this.#status({
        type: 'back',
        cut,
        back: this.#cursor + 1,
        duration: now() - at,
        missing: this.#counters.missing - missing,
        repeated: this.#counters.repeated - repeated,
      });
    }
    const event = this.#due(); // the callback may have gone elsewhere
    if (event === undefined) return undefined;
    this.#line?.items.shift();
    this.#cursor = event.id;
    this.#patient = false;
    this.#counters.delivered++;
    if (event.type === 'end') this.#finish({ type: 'terminal', event }); // before the caller has it: a done reader holds no line
    return event;
  }

  /** The next event if it has come. What stands before it on the line is dropped, and so is the line if it left out some. */
  #due(): StreamEvent | undefined {
    const line = this.#line;
    for (;;) {
      const item = line?.items[0];
      if (line === undefined || item === undefined) return undefined;
      const expected = this.#cursor + 1;
      if (typeof item === 'number') {
        this.#retry = item;
        this.#patient = true;
      } else if (item.id === expected) {
        return item;
      } else if (item.id < expected) {
        this.#counters.repeated++;
      } else {
        this.#counters.missing += item.id - expected;
        line.drop(new GapError(expected, item.id));
        this.#status({ type: 'gap', expected, got: item.id });
        return undefined;
      }
      line.items.shift();
    }
  }

  /** Gets a line, opens it or waits for what it brings, whichever is next. */
  async #advance(): Promise<void> {
    const line = this.#line ?? this.#connect();
    try {
      if (line.opened) {
        await line.read();
      } else {
        const more = await line.open();
        if (this.#line !== line) return;
        if (more) this.#status({ type: 'open', after: this.#cursor });
        else this.#finish({ type: 'nothing-more' });
      }
    } catch (error) {
      if (this.#line === line) await this.#lose(line, error);
    }
  }

  #connect(): Line {
    const line = new Line(this.#request, {
      id: this.#id,
      after: this.#cursor,
      pace: this.#pace,
      idleTimeout: this.#options.idleTimeout ?? DEFAULT_IDLE_TIMEOUT,
      onActivity: () => this.#call(() => this.#options.onActivity?.()),
    });
    this.#line = line;
    this.#hurry = false;
    this.#counters.connections++;
    this.#status({ type: 'connecting', after: this.#cursor, attempt: this.#fruitless });
    return line;
  }

  /** Decides what follows the loss of a line: the end, or a wait. */
  async #lose(line: Line, cause: unknown): Promise<void> {
    line.drop();
    let after = this.#cursor;
    this.#call(() => {
      const asked = this.#options.cursor?.(cause) ?? after;
      if (this.#line === line) after = place(asked, after);
    });
    if (this.#line !== line) return; // the callback has gone elsewhere

    const fruitful = after > line.after;
    if (fruitful) this.#fruitless = this.#gaps = 0;
    if (cause instanceof GapError) this.#gaps++;
    if (this.#gaps >= GAP_TRIES || isFinal(cause) || (!fruitful && this.#fruitless + 1 >= (this.#options.maxAttempts ?? Infinity))) {
      this.#finish({ type: 'error', error: cause });
      return;
    }

    this.#cursor = after;
    const missing = this.#counters.missing - (cause instanceof GapError ? cause.got - cause.expected : 0);
    this.#lost ??= { cut: after, at: now(), missing, repeated: this.#counters.repeated };
    const quick = fruitful && !this.#patient && !(cause instanceof GapError);
    const wait = this.#hurry ? 0 : this.#wait(quick ? undefined : this.#fruitless, cause);
    if (!fruitful) this.#fruitless++;
    this.#status({ type: 'lost', after, wait, cause });
    if (this.#line !== line) return;
    this.#line = undefined;
    await this.#rest(wait);
  }

  /** Milliseconds to the next try. */
  #wait(fruitless: number | undefined, cause: unknown): number {
    const quick = this.#options.quickRetry ?? DEFAULT_QUICK_RETRY;
    const least = Math.max(this.#retry, quick);
    const longest = Math.max(this.#options.maxRetry ?? DEFAULT_MAX_RETRY, least);
    return jittered(fruitless === undefined ? quick : Math.min(longest, least * 2 ** fruitless), cause, this.#random);
  }

  /** Resolves when roused, or after the milliseconds if any are given. */
  #rest(milliseconds?: number): Promise<void> {
    return new Promise((resolve) => {
      const rouse = (): void => {
        clearTimeout(timer);
        this.#rouse = undefined;
        resolve();
      };
      const timer = milliseconds === undefined ? undefined : setTimeout(rouse, milliseconds);
      this.#rouse = rouse;
    });
  }

  /** Leaves line and wait; what comes next is decided anew. */
  #letGo(): void {
    const line = this.#line;
    this.#line = undefined;
    line?.drop();
    this.#rouse?.();
  }

  #forget(): void {
    this.#fruitless = this.#gaps = 0;
    this.#lost = undefined;
  }

  #finish(end: End): void {
    this.#end = end;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#letGo();
  }

  #listen(): void {
    const { signal } = this.#options;
    if (signal?.aborted) this.close();
    else signal?.addEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => this.close();

  #status(status: Status): void {
    this.#call(() => this.#options.onStatus?.(status));
  }

  #call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#finish({ type: 'error', error });
    }
  }
}

/** The cursor, if it can be one and is not beyond the last allowed. */
function place(after: number, last = Number.MAX_SAFE_INTEGER): number {
  if (!(Number.isInteger(after) && after >= 0 && after <= last)) throw new RangeError(`a cursor is 0 or an id up to ${last}, not ${after}`);
  return after;
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

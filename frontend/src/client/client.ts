/**
 * The commands of tokenrelay's native protocol, version 1, over `fetch`.
 * Reading a session's events is follow.ts.
 */

import type { Failure } from './event.ts';
import { Follow, type FollowOptions } from './follow.ts';
import { isRecord, text } from './json.ts';

export type Unit = 'rune' | 'grapheme' | 'token' | 'word' | 'line' | 'delta';
export type State = 'running' | 'paused' | 'done' | 'stopped' | 'failed' | 'interrupted';

export type NoReaderPolicy = 'continue' | 'pause' | 'stop';
export type OnPause = 'hold' | 'release';

export interface Message {
  readonly role: string;
  readonly content: string;
}

export type Source =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'generate'; readonly prompt: string; readonly seed?: number; readonly length?: number }
  | { readonly type: 'push' }
  | {
      readonly type: 'upstream';
      readonly model: string;
      readonly messages: readonly Message[];
      /** Further fields of the request to the provider, such as temperature. */
      readonly parameters?: Readonly<Record<string, unknown>>;
    };

/** A message of a question that need not be this library's: an image, a call of a tool, its result. */
export interface MessageGiven {
  readonly role?: string;
  /** A string, or a list of parts. */
  readonly content?: unknown;
  readonly [more: string]: unknown;
}

/**
 * What the source of a session was given, whoever created it and however; to create with it asks the same again. A seed
 * past 2^53 has lost digits; without it another text is made.
 */
export type SourceGiven =
  | Exclude<Source, { readonly type: 'upstream' }>
  | {
      readonly type: 'upstream';
      readonly model: string;
      /** Whose form the messages and parameters have, such as "responses"; absent for that of Source. */
      readonly dialect?: string;
      readonly messages: readonly MessageGiven[];
      readonly parameters?: Readonly<Record<string, unknown>>;
      readonly [more: string]: unknown;
    };

export interface CreateRequest {
  readonly source: Source | SourceGiven;
  readonly unit?: Unit;
  readonly encoding?: string;
  /** Events a second at the source; absent means as fast as it comes. */
  readonly rate?: number;
  /** What becomes of it when nobody has read it for so long, such as "5m". */
  readonly on_no_reader?: { readonly policy?: NoReaderPolicy; readonly after?: string };
  /** Of an upstream: read on while the session is paused, or let go and asked again. */
  readonly on_pause?: OnPause;
  readonly retain?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * One place in a session, as the cursors of other protocols. One that cannot
 * show the session is absent.
 */
export interface Cursors {
  /** The native cursor that was asked about. */
  readonly after: number;
  readonly responses?: EventCursor;
  readonly chat_completions?: EventCursor;
  readonly ui_messages?: { readonly id: string; readonly startIndex: number };
  readonly [more: string]: unknown;
}

export interface EventCursor {
  /** The session's name in that protocol, such as "resp_…". */
  readonly id: string;
  /** The last event had; absent before the first. */
  readonly starting_after?: number;
}

/** What the server says of a session; it may say more than is named here. */
export interface Session {
  readonly id: string;
  readonly state: State;
  readonly source: { readonly type: Source['type']; readonly model?: string };
  readonly unit: Unit;
  /** Of the unit `token`: the encoding, and why it is that one. */
  readonly encoding?: string;
  readonly encoding_source?: 'request' | 'model' | 'default';
  /** Version of the tables that decide where units end. */
  readonly unicode?: string;
  readonly last_event_id: number;
  readonly events_url: string;
  readonly on_pause?: OnPause;
  readonly on_no_reader?: { readonly policy: NoReaderPolicy; readonly after: string };
  /** The session whose text this one begins with. */
  readonly continues?: string;
  /** How many read along now. */
  readonly readers?: number;
  readonly usage?: Usage;
  readonly timings?: Timings;
  /** Why it ended, once it has. */
  readonly reason?: string;
  /** The provider's own word for it, if that is another. */
  readonly provider_reason?: string;
  /** What went wrong, if that is why. */
  readonly error?: Failure;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly [more: string]: unknown;
}

/** Sessions, the newest first. */
export interface SessionPage {
  readonly sessions: readonly Session[];
  /** What the next page comes after; undefined on the last. */
  readonly next?: string;
}

/** A figure that is not there is not known; a zero was reported. */
export interface Usage {
  readonly input_tokens?: number;
  readonly output_tokens?: number;
  readonly source?: 'reported' | 'estimated' | 'none';
  readonly [more: string]: unknown;
}

export interface Timings {
  /** Times such as "2026-11-20T19:18:38.709Z". */
  readonly created?: string;
  readonly first_text?: string;
  readonly ended?: string;
  /** Of an upstream: from the request to the first token, and the mean between two. */
  readonly first_token_ms?: number;
  readonly between_tokens_ms?: number;
  readonly [more: string]: unknown;
}

export interface Model {
  readonly id: string;
  readonly [more: string]: unknown;
}

/** Text, or an event of the caller's own name, for a session whose source is `push`. */
export type Append = (
  | { readonly text: string }
  | { readonly event: string; readonly data: unknown }
) & {
  /** With both, a repeated seq is answered and not applied. */
  readonly producer?: string;
  readonly seq?: number;
};

/** A response of the server that is not a success. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly status: number;
  /** The stable name of the case, such as "expired"; '' if the server gave none. */
  readonly code: string;
  readonly detail: string;
  /** Milliseconds to wait before another try, or undefined if the server did not say. */
  readonly retryAfter: number | undefined;
  /** The whole problem document, or undefined if the body was none. */
  readonly document: Readonly<Record<string, unknown>> | undefined;

  constructor(status: number, init: Partial<Pick<ProblemError, 'code' | 'detail' | 'retryAfter' | 'document'>> = {}) {
    super(init.detail || init.code || `the server answered with status ${status}`);
    this.status = status;
    this.code = init.code ?? '';
    this.detail = init.detail ?? '';
    this.retryAfter = init.retryAfter;
    this.document = init.document;
  }

  /** Reads the response's body; it does not throw. */
  static async from(response: Response): Promise<ProblemError> {
    const retryAfter = parseRetryAfter(response.headers.get('retry-after'));
    const init = retryAfter === undefined ? {} : { retryAfter };
    let document: unknown;
    try {
      document = await response.json();
    } catch {
      return new ProblemError(response.status, init);
    }
    if (!isRecord(document)) return new ProblemError(response.status, init);
    // A provider's own shape puts the same under "error".
    const inner = isRecord(document['error']) ? document['error'] : document;
    return new ProblemError(response.status, {
      ...init,
      document,
      code: text(inner['code']) || text(inner['type']),
      detail: text(inner['detail']) || text(inner['message']) || text(inner['title']),
    });
  }
}

export interface ClientOptions {
  /** Where the server is, such as "http://127.0.0.1:8080"; '' means where the page came from. */
  readonly base?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch?: typeof fetch;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface CreateOptions extends CallOptions {
  /**
   * Tells the server which creates are one: asked again with the same key and the same
   * body, it answers with the session that it has made. See newKey.
   */
  readonly key?: string;
}

export interface ListOptions extends CallOptions {
  /** How many at most, up to 200. Default 50. */
  readonly limit?: number;
  /** The `next` of the page before. */
  readonly after?: string;
}

/**
 * A Client holds no connection and no state. Every method but follow rejects
 * with ProblemError if the server refused, and with what `fetch` throws if it
 * was not reached; persist calls again for as long as that will pass.
 */
export class Client {
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #fetch: typeof fetch;

  constructor(options: ClientOptions = {}) {
    this.#base = (options.base ?? '').replace(/\/+$/, '');
    this.#headers = options.headers ?? {};
    // Called as a method, a browser's fetch throws "Illegal invocation".
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  async create(request: CreateRequest, options: CreateOptions = {}): Promise<Session> {
    return this.#json('POST', '/v1/sessions', { ...options, body: request });
  }

  /** One's own sessions, a page at a time. */
  async list(options: ListOptions = {}): Promise<SessionPage> {
    const query = new URLSearchParams();
    if (options.limit !== undefined) query.set('limit', String(options.limit));
    if (options.after !== undefined) query.set('after', options.after);
    const search = query.toString();
    return this.#json('GET', `/v1/sessions${search === '' ? '' : `?${search}`}`, { signal: options.signal });
  }

  async state(id: string, options: CallOptions = {}): Promise<Session> {
    return this.#json('GET', path(id), options);
  }

  /** The text so far. */
  async text(id: string, options: CallOptions = {}): Promise<string> {
    return (await this.#call('GET', path(id, 'text'), options)).text();
  }

  /** What its source was given: the whole question. */
  async source(id: string, options: CallOptions = {}): Promise<SourceGiven> {
    return this.#json('GET', path(id, 'source'), options);
  }

  /** The place behind the event with the id `after`, in the terms of other protocols. */
  async cursors(id: string, after: number, options: CallOptions = {}): Promise<Cursors> {
    return this.#json('GET', `${path(id, 'cursors')}?after=${after}`, options);
  }

  async append(id: string, what: Append, options: CallOptions = {}): Promise<void> {
    await this.#done('POST', path(id, 'append'), { ...options, body: what });
  }

  /** Pauses the session for everybody; one reader pauses by itself, with Follow.pause. */
  async pause(id: string, options: CallOptions = {}): Promise<void> {
    await this.#done('POST', path(id, 'pause'), options);
  }

  async resume(id: string, options: CallOptions = {}): Promise<void> {
    await this.#done('POST', path(id, 'resume'), options);
  }

  /** Ends the generation for everybody. A session that has ended is left as it is. */
  async stop(id: string, options: CallOptions = {}): Promise<void> {
    await this.#done('POST', path(id, 'stop'), options);
  }

  /** Makes a session that goes on from the text of one that ended before its own end. */
  async continue(id: string, options: CreateOptions = {}): Promise<Session> {
    return this.#json('POST', path(id, 'continue'), options);
  }

  /** Ends a pushed text as complete. */
  async finish(id: string, options: CallOptions = {}): Promise<void> {
    await this.#done('POST', path(id, 'finish'), options);
  }

  async delete(id: string, options: CallOptions = {}): Promise<void> {
    await this.#done('DELETE', path(id), options);
  }

  async models(options: CallOptions = {}): Promise<readonly Model[]> {
    const list = await this.#json<{ data?: readonly Model[] }>('GET', '/v1/models', options);
    return list.data ?? [];
  }

  /** Resolves if the server takes on sessions and their text. */
  async ready(options: CallOptions = {}): Promise<void> {
    await this.#done('GET', '/readyz', options);
  }

  /** Reads a session's events, reconnecting as needed; see Follow. */
  follow(id: string, options: FollowOptions = {}): Follow {
    return new Follow((url, init) => this.#fetch(this.#base + url, { ...init, headers: { ...this.#headers, ...init.headers } }), id, options);
  }

  async #json<T>(method: string, url: string, options: CallInit): Promise<T> {
    return (await (await this.#call(method, url, options)).json()) as T;
  }

  async #done(method: string, url: string, options: CallInit): Promise<void> {
    // An unread body holds its connection, of which a browser has six.
    await (await this.#call(method, url, options)).arrayBuffer();
  }

  async #call(method: string, url: string, options: CallInit): Promise<Response> {
    const headers: Record<string, string> = { ...this.#headers };
    const init: RequestInit = { method, headers, cache: 'no-store' };
    if (options.body !== undefined) {
      headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(options.body);
    }
    if (options.key !== undefined) headers['Idempotency-Key'] = options.key;
    if (options.signal !== undefined) init.signal = options.signal;
    const response = await this.#fetch(this.#base + url, init);
    if (!response.ok) throw await ProblemError.from(response);
    return response;
  }
}

interface CallInit {
  readonly body?: unknown;
  readonly key?: string;
  readonly signal?: AbortSignal | undefined;
}

function path(id: string, command?: string): string {
  const session = `/v1/sessions/${encodeURIComponent(id)}`;
  return command === undefined ? session : `${session}/${command}`;
}

/** A key that no other create has; also where there is no crypto.randomUUID, as on a page over plain HTTP. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Reads a Retry-After header, seconds or a date, as milliseconds from now. */
export function parseRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^\s*[0-9]+\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** When to ask again what has failed. */

import { ProblemError } from './client.ts';

/**
 * Longest wait that back-off grows to, in milliseconds, if nobody names another: a
 * reader is to be back about two seconds after its server.
 */
export const DEFAULT_MAX_RETRY = 1500;

const FIRST_RETRY = 500;
const LONGEST_WAIT = 3_600_000;

/** Statuses of what will pass; 500 tells of a fault, which stays. */
const PASSING: readonly number[] = [408, 425, 429, 502, 503, 504, 507];

/** Whether the same call may succeed later: the server was not reached, or says so. */
export function passes(error: unknown): boolean {
  if (error instanceof ProblemError) return PASSING.includes(error.status);
  return error instanceof TypeError; // as fetch says of a network
}

/** Milliseconds that a timer can bear, an hour at most: past 2^31-1, and for NaN, it fires at once. */
export function bounded(milliseconds: number): number {
  return milliseconds < LONGEST_WAIT ? milliseconds : LONGEST_WAIT;
}

/**
 * Milliseconds to the next try: floor, but never sooner than the server asked, and up
 * to half as much again, so that readers of one broken server do not come back as
 * one; but never more than an hour.
 */
export function jittered(floor: number, cause: unknown, random: () => number): number {
  const asked = cause instanceof ProblemError ? (cause.retryAfter ?? 0) : 0;
  return bounded(Math.round(Math.max(floor, asked) * (1 + random() / 2)));
}

export interface PersistOptions {
  /** Ends the tries: persist rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told of each failure that passes, and of the wait after it in milliseconds. */
  readonly onFailure?: (error: unknown, wait: number) => void;
  /** Longest wait that back-off grows to, in milliseconds. Default 1500. Retry-After may ask for more. */
  readonly maxRetry?: number;
  /** A number from 0 up to 1, for the jitter. Default Math.random. */
  readonly random?: () => number;
}

/**
 * Calls until that succeeds, or fails with what does not pass. A call whose
 * answer was lost may have taken place, so it must be one that bears repeating:
 * all of Client's do but create and continue without a key, and append without a
 * producer and its seq.
 */
export async function persist<T>(call: () => Promise<T>, options: PersistOptions = {}): Promise<T> {
  const { signal, onFailure, maxRetry = DEFAULT_MAX_RETRY, random = Math.random } = options;
  for (let failures = 0; ; failures++) {
    signal?.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      signal?.throwIfAborted();
      if (!passes(error)) throw error;
      const wait = jittered(Math.min(maxRetry, FIRST_RETRY * 2 ** failures), error, random);
      onFailure?.(error, wait);
      await sleep(wait, signal);
    }
  }
}

/** Resolves after the time, or when the signal fires. */
function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, milliseconds);
    signal?.addEventListener('abort', over);
    if (signal?.aborted) over();
  });
}

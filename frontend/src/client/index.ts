/** Reading and writing tokenrelay sessions, in browsers and in Node 20. */
export * from './client.ts';
export * from './event.ts';
export * from './follow.ts';
export * from './retry.ts';
export * from './sse.ts';

// OpenAI's SDK, which needs Node 22, alone and together with others.
import { test } from 'node:test'
import { run } from './node22.mjs'

// All at once: they wait more than they work.
test('openai', { timeout: 120_000, concurrency: true }, async (t) => {
  await Promise.all([
    t.test('Responses', (t) => run(t, 'openai/responses.mjs', 17)),
    t.test('Chat Completions', (t) => run(t, 'openai/chat.mjs', 9)),
    t.test('the command of the page', (t) => run(t, 'openai/handover.mjs', 3)),
    t.test('together', (t) => run(t, 'openai/together.mjs', 5)),
  ])
})

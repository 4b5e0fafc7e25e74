// The AI SDK, whose packages need Node 22.
import { test } from 'node:test'
import { run } from './node22.mjs'

// Both at once: they wait more than they work.
test('ai', { timeout: 120_000, concurrency: true }, async (t) => {
  await Promise.all([
    t.test('DefaultChatTransport', (t) => run(t, 'ai/usechat.mjs', 10)),
    t.test('WorkflowChatTransport', (t) => run(t, 'ai/workflow.mjs', 10)),
  ])
})

// Some packages need Node 22, the other tests run on the Node that there is:
// files of tests that need it are run by the one of npm node, which is installed
// beside them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const at = (path) => fileURLToPath(new URL(path, import.meta.url))
const node = at('node_modules/.bin/node')

// How long a file may take: what hangs is told by its report, not by a timeout
// of the test that runs it.
const patience = 100_000

/** Runs a file of tests, and fails unless there were that many at least and all passed. */
export async function run(t, file, least) {
  assert.ok(existsSync(node), `${node} is missing: npm ci installs it`)
  const env = { ...process.env }
  delete env.NODE_TEST_CONTEXT // it is to report to us
  const child = spawn(node, ['--test', '--test-reporter=tap', at(file)], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let report = ''
  for (const output of [child.stdout, child.stderr]) output.on('data', (data) => (report += data))
  const over = setTimeout(() => child.kill('SIGKILL'), patience)
  const closed = once(child, 'close')
  const [code] = await once(child, 'exit')
  clearTimeout(over)
  // What it started may have its output too, and live on.
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2000))])
  for (const output of [child.stdout, child.stderr]) output.destroy()
  for (const [, line] of report.matchAll(/^ *((?:not )?ok \d.*|# CONTRACT_SEED.*|# \d+ cuts.*)$/gm)) t.diagnostic(line)
  const count = (what) => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(report)?.[1])
  assert.deepEqual([code, count('fail'), count('skipped'), count('todo')], [0, 0, 0, 0], report)
  assert.ok(count('pass') >= least, report)
}

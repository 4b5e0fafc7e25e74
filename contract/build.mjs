// Builds the relay once, before the test files run, each in a process of its own.
import { build } from './relay.mjs'

build()

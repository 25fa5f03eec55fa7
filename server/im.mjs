#!/usr/bin/env node
/** `im`: compiles what is stale, then runs the command. */
import { compiled } from './compile.mjs'

await import(compiled('im.js'))

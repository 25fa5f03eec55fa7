/** A row per conversation, changed by every append of the crash test. */
import { table } from '../../core/ports.ts'

export const COUNTERS = table<{ seq: number }>('counters')

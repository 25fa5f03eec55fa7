/** The faults that are planted: each is a mistake that somebody could make here, and what the checker must say of it. */
import type { Verdict } from '../checker/history.ts'
import type { Patch } from './copy.ts'
import { DELIVERY } from './delivery.ts'
import { SESSIONS } from './sessions.ts'
import { STORAGE } from './storage.ts'

export interface Mutant extends Patch {
  /** The fault, in words. */
  name: string
  verdict: Verdict
}

export const MUTANTS: readonly Mutant[] = [...STORAGE, ...DELIVERY, ...SESSIONS]

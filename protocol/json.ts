/** JSON from outside: well-formed UTF-8, plain objects, bounded depth, and no number that would not come back the same. */
import * as z from 'zod'
import { Fault } from './faults.ts'

/** Nesting of a whole request. */
export const MAX_DEPTH = 32

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @throws Fault `malformed`: not UTF-8. */
export function utf8(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes)
  } catch (cause) {
    throw new Fault('malformed', { issues: [{ path: [], message: 'The bytes are not UTF-8.' }] }, { cause })
  }
}

/** @throws Fault `malformed`: not JSON, nested deeper than 32, a key `__proto__`, or a number past 2^53. */
export function parseJson(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw malformed('The body is not JSON.', cause)
  }
  const wrong = flaw(value, MAX_DEPTH)
  if (wrong) throw malformed(wrong)
  return value
}

const malformed = (message: string, cause?: unknown) =>
  new Fault('malformed', { issues: [{ path: [], message }] }, { cause })

/** What is wrong with a parsed value, or nothing. */
export function flaw(value: unknown, depth: number): string | undefined {
  if (typeof value === 'number') {
    const exact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
    return exact ? undefined : 'A number is past 2^53 and would not come back the same.'
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth === 0) return `The value is nested deeper than ${MAX_DEPTH}.`
  for (const key of Object.keys(value)) {
    if (key === '__proto__') return 'A key may not be __proto__.'
    const wrong = flaw((value as Record<string, unknown>)[key], depth - 1)
    if (wrong) return wrong
  }
  return undefined
}

/** An object of the app's own making, stored as it is. */
export const PlainObject = ({ maxBytes }: { maxBytes: number }) =>
  z
    .record(z.string(), z.unknown())
    .refine(
      value => flaw(value, MAX_DEPTH) === undefined,
      `The object is nested deeper than ${MAX_DEPTH} or holds a number past 2^53.`,
    )
    .refine(value => new TextEncoder().encode(JSON.stringify(value)).length <= maxBytes, {
      error: `The object is more than ${maxBytes} bytes of JSON.`,
      params: { code: 'too-large' },
    })

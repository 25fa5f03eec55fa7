/**
 * Plays seeds over the code beside it until the checker tells of what is looked for; the last line is what was found.
 *
 *   node dist/test/mutants/hunt.js IMAGE FROM SEEDS [VERDICT]    without a verdict: all seeds, the first breach of each kind
 */
import { readFileSync } from 'node:fs'
import { deserialize } from 'node:v8'
import { VERDICTS } from '../checker/history.ts'
import type { Image } from '../simulation/image.ts'
import { judge } from '../simulation/judge.ts'

export interface Hunted {
  /** Seeds played. */
  seeds: number
  /** The first breach of each kind, in the words of the checker, and with which seed it was; `other`: not by the checker. */
  breaches: Record<string, { seed: number; says: string; times: number }>
}

const [begin, from, most, wanted] = process.argv.slice(2)
// A fault that was planted may leave a promise alone.
process.on('unhandledRejection', () => {})

// Made by the code without the fault.
const image = deserialize(readFileSync(begin as string)) as Image
const hunted: Hunted = { seeds: 0, breaches: {} }
for (let seed = Number(from); hunted.seeds < Number(most) && !(wanted && hunted.breaches[wanted]); seed++) {
  hunted.seeds++
  for (const says of (await judge(seed, image)).breaches) {
    const kind = VERDICTS.find(verdict => says.startsWith(`${verdict}: `)) ?? 'other'
    hunted.breaches[kind] ??= { seed, says, times: 0 }
    hunted.breaches[kind].times++
  }
}
process.stdout.write(`\n${JSON.stringify(hunted)}\n`, () => process.exit())

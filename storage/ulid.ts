/** Ids of entries: ULIDs whose time is the entry's `sentAt`; within one millisecond they count up. */
import type { Random } from '../core/ports.ts'
import type { EpochMs } from '../protocol/ids.ts'

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const HALF = 2 ** 40

/** The package of that name takes the time of the id before when a conversation's clock stands ahead; this keeps it. */
export function ulids(random: Random): (time: EpochMs) => string {
  let last = -1
  let start = ''
  let count = 0
  let pool = random.bytes(0)
  let used = 0

  function draw(): number {
    if (used + 5 > pool.length) {
      pool = random.bytes(1280)
      used = 0
    }
    let bits = 0
    for (let byte = 0; byte < 5; byte++) bits = bits * 256 + (pool[used++] as number)
    return bits
  }

  return function ulid(time) {
    if (time !== last || count + 1 >= HALF) {
      last = time
      start = base32(time, 10) + base32(draw(), 8)
      count = draw()
    } else count++
    return start + base32(count, 8)
  }
}

/** In two parts of at most 25 bits, where integer arithmetic is cheap. */
function base32(number: number, length: number): string {
  let low = number % 33_554_432
  let high = (number - low) / 33_554_432
  let text = ''
  for (let digit = 0; digit < 5; digit++) {
    text = DIGITS[low & 31] + text
    low >>>= 5
  }
  for (let digit = 5; digit < length; digit++) {
    text = DIGITS[high & 31] + text
    high = Math.floor(high / 32)
  }
  return text
}

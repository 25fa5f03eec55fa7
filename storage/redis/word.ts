/** A word on the bus from who is no node: sent once, over a line of its own, and known to be there or not. */
import { randomBytes } from 'node:crypto'
import { channelsOf } from './bus.ts'
import { dialOnce } from './dial.ts'
import { frameOf } from './frame.ts'
import { addressOf, type RedisAccess } from './open.ts'
import { shown } from './url.ts'

export interface Word {
  channel: string
  message: Uint8Array
}

/** All are told, or none may have been. @throws Error, one sentence without secrets */
export async function sayOnce(access: RedisAccess, words: readonly Word[]): Promise<void> {
  const address = await addressOf(access)
  const redis = dialOnce(address, 'im-word')
  // What the client rejects with says less.
  let why: string | undefined
  redis.on('error', (error: Error) => {
    why = error.message
  })
  try {
    await redis.connect()
    const self = randomBytes(8)
    const channel = channelsOf(address)
    await Promise.all(words.map(word => redis.publish(channel(word.channel), frameOf(self, 1, word.message))))
  } catch (cause) {
    const says = why ?? (cause instanceof Error ? cause.message : String(cause))
    throw new Error(`${shown(address)} does not answer as it should: ${says.slice(0, 200).replace(/\.$/, '')}.`, {
      cause,
    })
  } finally {
    redis.disconnect()
  }
}

/** What another node may have changed since an operation was permitted: asked again where that can be. */
import type { Turn } from './caller.ts'
import type { AppendOptions, ConversationKey } from './ports.ts'

/** `permits` is of the rules; whether the turn is still the transport's to take is asked behind it. */
export function judging(
  key: ConversationKey,
  turn?: Turn,
  permits?: () => void | Promise<void>,
): Pick<AppendOptions, 'judge'> {
  if (!turn?.judge) return permits ? { judge: permits } : {}
  const { judge } = turn
  return {
    async judge() {
      await permits?.()
      await judge(key)
    },
  }
}

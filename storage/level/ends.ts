/**
 * Ends of conversations while they move: where a batch moves them, where they were before, and where a write that failed
 * left it open. What lies behind the end that followers were told of may be on disk; nobody reads it before they are.
 */
import type { ConversationKey } from '../../core/ports.ts'
import type { TailRow } from './entries.ts'

type End = Readonly<TailRow>

export class Ends {
  /** Where the batch under way has moved them. */
  readonly #moved = new Map<ConversationKey, End>()
  /** Where they were before it. */
  readonly #began = new Map<ConversationKey, End>()
  /** Where they were before a write failed that may be on disk all the same. */
  readonly #untold = new Map<ConversationKey, End>()

  moved(conversation: ConversationKey): End | undefined {
    return this.#moved.get(conversation)
  }
  allMoved(): Iterable<[ConversationKey, End]> {
    return this.#moved
  }

  move(conversation: ConversationKey, from: End, to: End): void {
    if (!this.#moved.has(conversation)) this.#began.set(conversation, from)
    this.#moved.set(conversation, to)
  }

  /** The batch is durable. */
  settled(): void {
    this.#moved.clear()
    this.#began.clear()
  }

  /** Whether the batch is on disk is unknown. */
  failed(): void {
    for (const [conversation, end] of this.#began)
      if (!this.#untold.has(conversation)) this.#untold.set(conversation, end)
    this.settled()
  }

  /** The end that followers were told of, where more may be on disk. */
  told(conversation: ConversationKey): End | undefined {
    return this.#began.get(conversation) ?? this.#untold.get(conversation)
  }
  allUntold(): Iterable<[ConversationKey, End]> {
    return this.#untold
  }
  /** Followers were told of everything that is on disk. */
  tell(conversation: ConversationKey): void {
    this.#untold.delete(conversation)
  }
}

/** The transports: whom they tell, and what they need to know of the rules. */
import type { LiveEvent } from '../../protocol/events.ts'
import type { FaultCode } from '../../protocol/faults.ts'
import type { AppId, ConversationId, Member, Seq, UserId } from '../../protocol/ids.ts'
import type { OperationName } from '../../protocol/operations.ts'
import type { Caller, Known } from '../caller.ts'

/** Whoever is connected now. Calls never throw and never wait: nothing that is durable goes this way. */
export interface Connections {
  /** A live event for every session of the user that listens. */
  tell(app: AppId, user: UserId, event: LiveEvent): void
  /** The device's newest value, to whoever is subscribed to it. */
  retained(app: AppId, topic: string, payload: Uint8Array): void
  /** Ends connections of one who may no longer hold them: of one grant, or all of them. */
  end(app: AppId, member: Member, code: FaultCode, grant?: string): void
}

/** What a transport needs to know of the rules beside `run`. */
export interface Gatekeeper {
  /**
   * Names the caller behind a username (`{user}`, `{app}/{user}`, `{app}/d/{device}`) and a token or key.
   * @throws Fault `bad-credentials` · `token-expired` · `token-revoked` · `too-many-requests`
   */
  connect(username: string, password: string, address: string): Promise<Caller>
  /** Names the caller behind a Bearer token or key. @throws as `connect`. */
  bearer(token: string, address: string): Promise<Caller>
  /** Whether what a caller came in with still opens the door, as it lies in storage. */
  stands(caller: Known): Promise<boolean>
}

/** An answer as it was given. */
export interface Answer {
  status: number
  body?: Buffer
}
/** Requests that carry a key of their caller's, 1 to 255 ASCII characters, and are done once. @throws Fault `malformed`: not such a key */
export interface Idempotency {
  /**
   * The answer of `act`, or the one that it gave before under that key, for 24 hours; `input`: what the operation is asked.
   * A repeat waits for who is at it, also at another server, for 30 s.
   * @throws Fault `malformed`: the key was used for a different request · `conflict`: it is still being done · as `act`
   */
  once(name: OperationName, caller: Known, key: string, input: object, act: () => Promise<Answer>): Promise<Answer>
  /** The clientMessageId of a send under that key. */
  messageId(name: OperationName, caller: Known, key: string): string
}

/** A conversation that someone is in, from an entry on. */
export interface Membership {
  conversation: ConversationId
  /** The entry that made them a member; what came before is never delivered. */
  joinedSeq: Seq
}
export interface Memberships {
  /** Page of a member's conversations, a user's notices among them, in no order that means anything; `next` is absent at the end. */
  of(app: AppId, member: Member, after?: string): Promise<{ items: Membership[]; next?: string }>
  /** Their place in one conversation, by every entry that this node has heard of. */
  get(app: AppId, member: Member, conversation: ConversationId): Promise<Membership | undefined>
  /** The same as storage has it: one read, for who hears of an entry by other ways and before it. */
  stored(app: AppId, member: Member, conversation: ConversationId): Promise<Membership | undefined>
  /**
   * Calls back synchronously when an entry that changes who is in has become durable, before the entry is delivered:
   * `joined` get it and what follows, `left` get nothing from it on; where it is `dismissed`, nobody does, named or not.
   */
  follow(
    listener: (change: {
      app: AppId
      conversation: ConversationId
      seq: Seq
      joined: Member[]
      left: Member[]
      dismissed?: true
    }) => void,
  ): () => void
}

/** Newest values, kept over restarts and handed to whoever subscribes. */
export interface RetainedValues {
  /** Those of the topics that a filter takes and the member may read now, by topic, at most 100 a page. */
  of(
    app: AppId,
    member: Member,
    filter: string,
    after?: string,
  ): Promise<{ items: { topic: string; payload: Uint8Array }[]; next?: string }>
}

/** Told by the transport when a member's session acknowledged entries; positions only ever go up. */
export interface DeliveryMarks {
  delivered(app: AppId, member: Member, conversation: ConversationId, upTo: Seq): void
}

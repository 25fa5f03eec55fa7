/**
 * What the nodes of a cluster tell each other. All of it may be lost at any time, and is whole again by itself: what must
 * not be lost is in the log and the records. Nothing here rejects because the others cannot be reached.
 */

/**
 * Messages between nodes, at most once. Contract: test/contracts/bus.ts.
 * One publisher's messages on one channel come in the order they were published; some may be missing. A node that misses
 * some while its own line is down, or while the publisher's is, is told so (`onMissed`), unless the publisher dies first.
 */
export interface Bus extends AsyncDisposable {
  /** Whether messages are sent and received now. */
  readonly healthy: boolean
  /** Messages published here, since the start, that were not sent or whose sending is unknown. */
  readonly dropped: number
  /** Messages published here that the bus has taken, and messages of others that came to listeners, since the start. */
  readonly sent: number
  readonly received: number
  /**
   * To every other node that listens to the channel, never to this one. Does not throw and does not wait: what cannot be sent
   * now, or would be more than 8 MiB under way, is dropped and counted. The message is not to be changed afterwards.
   */
  publish(channel: string, message: Uint8Array): void
  /**
   * Listens until the returned function is called. Many listeners of a channel are one subscription, and all changes of one
   * turn of the event loop are sent together. The message is the listener's to keep. Listeners do not throw.
   */
  subscribe(channel: string, listener: (message: Buffer) => void): () => void
  /**
   * Resolves when every channel subscribed to before the call is listened to: what is published from then on comes. While the
   * bus is away it resolves as well, within a second or two, and `onMissed` is called later.
   */
  settled(): Promise<void>
  /**
   * Called when messages to this node may have been missed, and what is published from now on comes: its line was lost and is
   * back with every channel; or another node could not send for a while and can again; or one of its heartbeats, one a second,
   * was lost on its way. What is lost between two that come is not noticed.
   */
  onMissed(listener: () => void): () => void
  /** Every other node that lives by the leases, and since when nothing says that its messages come: its last heartbeat. */
  peers(): { node: string; silentMs: number }[]
}

/** One node's hold on a key. */
export interface Holding {
  node: string
  value: string
  rank: number
}
/** Nodes that came, or ended (an earlier run of a name among them), by name. */
export interface NodeChange {
  came: string[]
  gone: string[]
}

/**
 * Who holds what: where a user is online, which nodes live. Contract:
 * test/contracts/leases.ts. The lease is the node's: a node that has not renewed it for its life (15 s) is gone, and with it
 * all that it held. A key costs one write when it is held, one when it is released, and one every ten minutes between.
 */
export interface Leases extends AsyncDisposable {
  readonly healthy: boolean
  /**
   * This node holds the key, beside any other node that does, until the returned function is called. Of several holds of
   * one key on this node, others see the one with the highest rank, of equal ones the latest; the key is given up with the last.
   * A user's key, held once for each session with its epoch as rank, says that the user is online.
   * Does not throw and does not wait; others see it within moments, or when the store is back. Keys and values: at most 1 KiB.
   */
  hold(key: string, value: string, rank?: number): () => void
  /**
   * Who holds each key now, in the order asked: living nodes only, one holding a node, highest rank first; at most 10,000 keys.
   * `undefined` when it cannot be known now, within two seconds.
   */
  get(keys: readonly string[]): Promise<Holding[][] | undefined>
  /** Names of the living nodes, this one among them; `undefined` when it cannot be known now. */
  nodes(): Promise<string[] | undefined>
  /** Resolves when what was held and released before the call is written, or cannot be written now. */
  settled(): Promise<void>
  /**
   * Called when nodes come and go, within a third of a life of its being so; this node is never told of. What a node held is to
   * be asked for again: after a store that lost everything, `gone` waits one life longer, for the nodes to come back.
   */
  onNodes(listener: (change: NodeChange) => void): () => void
}

/** Both, as one node sees them. */
export interface Cluster extends AsyncDisposable {
  /** This node's name. */
  readonly node: string
  bus: Bus
  leases: Leases
}

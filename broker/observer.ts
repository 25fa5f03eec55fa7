/** What the broker tells of itself. Calls never throw and never wait. */
import type { FaultCode } from '../protocol/faults.ts'

export interface BrokerObserver {
  connected(): void
  disconnected(): void
  /** A CONNECT was refused. */
  connectRefused(code: FaultCode): void
  /** A PUBLISH was refused for good, or its connection closed for a temporary fault. */
  publishRefused(code: FaultCode): void
  /** The server ended a connection. */
  connectionEnded(code: FaultCode): void
  /** A QoS 1 entry was acknowledged by its reader, or handed to the socket at QoS 0. */
  delivered(count: number): void
  /** A pump stood still with work at hand, and was started again. */
  pumpStalled(): void
  /** A mistake of the server; `where` names the step. */
  failed(where: string, error: unknown): void
}

/** What is held now, for gauges. */
export interface BrokerGauges {
  connections: number
  /** Conversations with a reader that is behind, over all connections. */
  behind: number
  /** Entries that are durable and that a connected reader has not been sent. */
  lag: number
  /** Entries sent and not yet acknowledged. */
  inFlight: number
  /** Publishes received and not yet answered. */
  unanswered: number
}

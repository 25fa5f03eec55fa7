/** A refused CONNECT: the CONNACK says why, in the words of its version, and then the connection ends [MQTT-3.2.2-5, MQTT-3.2.2-7]. */
import type { Scheduler } from '../core/ports.ts'
import type { Fault } from '../protocol/faults.ts'
import type { AedesClient } from './aedes.ts'
import { connack, reasonFor } from './wire.ts'

/** Time for the CONNACK to be read. */
const LINGER_MS = 1_000
/** Server unavailable: what is final for a CONNECT has codes of its own; anything else came of a race, and may be tried again. */
const CODE = 3
const CODE5 = 0x88

export function refuseConnect(client: AedesClient, fault: Fault, scheduler: Scheduler): void {
  const { conn, version } = client
  if (client.closed || conn.destroyed) return
  const code = version === 5 ? (fault.row.connack5 ?? CODE5) : (fault.row.connack ?? CODE)
  conn.end(connack(code, reasonFor(fault, client.maximumPacketSize), version))
  // What the client sent meanwhile is read and dropped: closing on unread bytes would reset the CONNACK away.
  conn.removeAllListeners('readable')
  conn.resume()
  scheduler.after(LINGER_MS, () => conn.destroy())
}

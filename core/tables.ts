/** Tables that more than one part of the rules reads. A table of one feature stands in that feature. */
import type { EpochMs } from '../protocol/ids.ts'
import { table } from './ports.ts'

/** A device's key: SHA-256 in hex. Partition: app; key: device. */
export interface DeviceKey {
  hash: string
  createdAt: EpochMs
}
export const DEVICE_KEYS = table<DeviceKey>('device-keys', { byHash: row => ({ partition: row.hash, sort: '' }) })

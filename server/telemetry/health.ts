/** Whether messages can be stored: asked of the storage and of the disk when somebody looks. */
import { statfs } from 'node:fs/promises'
import type { Config } from '../config.ts'
import type { Meters } from './meters.ts'

/** A storage that has not answered by then is not ready. */
const PATIENCE_MS = 5_000

/** @param ready rejects when `/readyz` would refuse */
export function healthMetrics(meters: Meters, ready: () => Promise<void>): void {
  meters.gauge('im_ready', '1 if /readyz would answer 200, else 0.', () => within(PATIENCE_MS, ready))
}

export function diskMetrics(meters: Meters, config: Pick<Config, 'dataDirectory' | 'diskLowWaterMiB'>): void {
  meters.gauge('im_disk_free_bytes', 'Free on the disk of the data directory, to this process.', async () => {
    const { bavail, bsize } = await statfs(config.dataDirectory)
    return bavail * bsize
  })
  meters.gauge('im_disk_low_water_bytes', 'Free bytes below which nothing more is accepted.', () => {
    return config.diskLowWaterMiB * 1024 * 1024
  })
}

async function within(ms: number, ready: () => Promise<void>): Promise<0 | 1> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<0>(resolve => {
    timer = setTimeout(resolve, ms, 0)
  })
  const answered = ready().then(
    () => 1 as const,
    () => 0 as const,
  )
  try {
    return await Promise.race([answered, late])
  } finally {
    clearTimeout(timer)
  }
}

/** What the process is and may use: its version, memory, certificate. */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { Config } from '../config.ts'
import { VERSION } from '../version.ts'
import type { Meters } from './meters.ts'

export function processMetrics(meters: Meters, { tlsCertificate }: Pick<Config, 'tlsCertificate'>): void {
  meters.gauges('im_build_info', 'Always 1; the version that runs.', 'version', () => [[VERSION, 1]])
  meters.gauge('im_memory_limit_bytes', 'Memory that the process may use: of its container, else of the machine.', () =>
    memoryLimit(process.constrainedMemory(), totalmem()),
  )
  meters.gauge('im_heap_limit_bytes', 'Heap size at which Node ends the process.', () => {
    return getHeapStatistics().heap_size_limit
  })
  // Read once: the listeners keep the certificate that they began with.
  const end = tlsCertificate && endOf(tlsCertificate)
  if (end !== undefined)
    meters.gauge('im_certificate_end_timestamp_seconds', 'When the certificate of IM_TLS_CERT ends, Unix time.', () =>
      Number(end),
    )
}

/** @param constrained of the control group (version 1 or 2): 0 or more than there is where it sets no limit */
export const memoryLimit = (constrained: number, total: number): number =>
  constrained > 0 ? Math.min(constrained, total) : total

/** Of the server's own, which stands first in the file; whoever listens tells what is wrong with one that cannot be read. */
function endOf(file: string): number | undefined {
  try {
    return Date.parse(new X509Certificate(readFileSync(file)).validTo) / 1000
  } catch {
    return undefined
  }
}

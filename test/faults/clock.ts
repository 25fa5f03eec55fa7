/** Servers whose wall clock a test can move while they run; see clock.c. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Ends } from '../support/ends.ts'
import type { TestServer } from '../support/server.ts'

const SOURCE = fileURLToPath(new URL('../../../test/faults/clock.c', import.meta.url))

export class Clocks {
  readonly #directory = mkdtempSync(join(tmpdir(), 'im-clock-'))

  /** Of servers 1 to `nodes`. Needs `cc`. */
  constructor(t: Ends, nodes: number) {
    t.after(async () => rmSync(this.#directory, { recursive: true, force: true }))
    execFileSync('cc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', this.#shim, SOURCE])
    for (let node = 1; node <= nodes; node++) writeFileSync(this.#file(node), Buffer.alloc(8))
  }

  get #shim(): string {
    return join(this.#directory, 'clock.so')
  }
  #file(node: number): string {
    return join(this.#directory, `n${node}`)
  }

  /** For the environment of that server. */
  of(node: number): Record<string, string> {
    return { LD_PRELOAD: this.#shim, CLOCK_SHIFT: this.#file(node) }
  }

  /** From now on the server's clock is so many seconds ahead. */
  shift(node: number, seconds: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(seconds))
    // In place: the server has the file mapped.
    writeFileSync(this.#file(node), bytes, { flag: 'r+' })
  }
}

/** How far the server's clock is ahead of this one, in milliseconds, as it says itself: to the second. */
export async function aheadMs({ ports }: TestServer): Promise<number> {
  const { headers } = await fetch(`http://127.0.0.1:${ports.http}/healthz`)
  return Date.parse(headers.get('date') ?? '') - Date.now()
}

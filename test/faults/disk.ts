/** A disk of a few MiB for one server, which a test can fill. On Linux, by root: it is a file system in memory. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Ends } from '../support/ends.ts'

const CHUNK = Buffer.alloc(4096)

export class SmallDisk {
  readonly #directory = mkdtempSync(join(tmpdir(), 'im-disk-'))

  /** @throws Error: nothing may be mounted here. */
  constructor(t: Ends, mebibytes: number) {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'im-disk', this.#directory], { stdio: 'pipe' })
    } catch (error) {
      rmSync(this.#directory, { recursive: true })
      throw error
    }
    t.after(async () => {
      execFileSync('umount', [this.#directory])
      rmSync(this.#directory, { recursive: true })
    })
    mkdirSync(this.data)
  }

  /** For the server. */
  get data(): string {
    return join(this.#directory, 'data')
  }

  /** Fills it but for so many bytes. */
  fill(leaving: number): void {
    const file = openSync(this.#filler, 'a')
    try {
      for (let room = this.#room() - leaving; room >= CHUNK.length; room -= CHUNK.length) writeSync(file, CHUNK)
    } catch (error) {
      // The server took the last of it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      closeSync(file)
    }
  }

  /** There is room again. */
  empty(): void {
    rmSync(this.#filler)
  }

  get #filler(): string {
    return join(this.#directory, 'filler')
  }
  #room(): number {
    const { bavail, bsize } = statfsSync(this.#directory)
    return bavail * bsize
  }
}

/** Why there is none here; where REQUIRE_REAL_PARTS is set, there must be one. */
export function withoutDisk(): string | false {
  const reason = whyNoDisk()
  assert.ok(!reason || !process.env.REQUIRE_REAL_PARTS, String(reason))
  return reason
}
function whyNoDisk(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a small disk needs root on Linux'
  const ends: (() => Promise<void>)[] = []
  try {
    new SmallDisk({ after: end => void ends.push(end) }, 1)
    return false
  } catch {
    return 'nothing may be mounted here'
  } finally {
    for (const end of ends) end()
  }
}

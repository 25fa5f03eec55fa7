/**
 * Where the power is cut, and what it leaves.
 *
 * What is assumed of the file system, and no more:
 * - A sync that has returned keeps the bytes of that file which were written before it began, and its size.
 * - It keeps the file's name too, although only the directory's own sync promises that on paper: LevelDB never syncs the
 *   directory of a new log, and stands on the file systems it is run on (ext4, XFS, Btrfs and ZFS all keep it).
 * - Names (create, rename, unlink, mkdir) reach the disk in their order, each as a whole: a journalled file system. What
 *   of them is not covered by a sync is cut off anywhere. Without an order, an unlink of an old log could be kept and the
 *   rename of CURRENT before it not, and LevelDB, which syncs no directory between the two, would lose data on its own.
 * - A MANIFEST grows before its size does: its end may be cut off anywhere, but not have a hole with zeros. LevelDB opens
 *   over the first and refuses the second, as it cannot tell it from damage; so do we, by name. ext4 in its default mode,
 *   XFS, Btrfs and ZFS leave no such hole.
 * Everything else may happen: of bytes that are not synced all, none, a prefix that ends anywhere, or any sectors in any
 * order, with zeros where the others belong, file by file on its own; and all of it also to directories whose server was
 * killed or stopped in order before.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Chance } from '../support/proof.ts'
import type { Content } from './content.ts'
import { type Disk, type Names, type Record, take } from './journal.ts'

export interface Cut {
  /** Records that have happened. */
  at: number
  /** Of what it leaves. */
  seed: number
}

/** Ascending. Many of them lie within and around syncs, and where files come, go and get another name. */
export function chooseCuts(records: readonly Record[], count: number, chance: Chance): Cut[] {
  const where = (wanted: (record: Record) => boolean) => [...records.keys()].filter(at => wanted(records[at] as Record))
  const ends = where(({ kind }) => kind === 'syncEnded')
  const starts = where(({ kind }) => kind === 'start')
  const begins = where(({ kind }) => kind === 'syncBegan')
  const names = where(({ kind, number }) => /rename|unlink|mkdir/.test(kind) || (kind === 'open' && (number & 1) === 1))
  const around = (places: number[], before: number, after: number) =>
    chance.of(places) - before + chance.below(before + after + 1)
  const one = () => {
    const what = chance.next()
    // Before the record of a sync's end it is under way, after it, it is over.
    if (what < 0.25) return around(ends, 0, 1)
    if (what < 0.35) return around(begins, 0, 1)
    if (what < 0.45) return around(starts, 0, 80)
    if (what < 0.7) return around(names, 2, 12)
    return chance.below(records.length + 1)
  }
  const cut = () => ({ at: Math.min(Math.max(one(), 0), records.length), seed: chance.below(2 ** 32) })
  return Array.from({ length: count }, cut).sort((a, b) => a.at - b.at)
}

/** Makes the directory as a power cut now may leave it. */
export function rebuild(disk: Disk, directory: string, chance: Chance): void {
  const names: Names = new Map(disk.synced)
  const steps = chance.of([0, disk.steps.length, chance.below(disk.steps.length + 1)])
  for (const step of disk.steps.slice(0, steps)) take(names, step)
  // All files as they were synced, all as they were written, or each in its own way.
  const all = chance.next()
  write(names, directory, (file, path) => {
    if (all < 0.15) return file.synced()
    if (all < 0.2) return file.now()
    return file.afterCut(chance, !path.includes('MANIFEST'))
  })
}

/** Makes the directory; as the process sees it unless `content` says otherwise. */
export function write(names: Names, directory: string, content = (file: Content, _path: string) => file.now()): void {
  mkdirSync(directory, { recursive: true })
  for (const [path, file] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (file) writeFileSync(join(directory, path), content(file, path))
    else mkdirSync(join(directory, path), { recursive: true })
  }
}

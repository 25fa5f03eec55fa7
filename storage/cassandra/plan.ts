/** What changes make of rows that were read: versions, conflicts, and what indexes gain and lose. */
import type { Change } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { type Cell, type Next, nameOf, nextStamp, type Place, placeOf } from './cells.ts'
import { type Entry, entriesOf, moved } from './places.ts'

export interface Step {
  place: Place
  before: Cell
  /** Absent: the row only has to be as it is. */
  next?: Next
  gained: Entry[]
  lost: Entry[]
}

/** Each row once, in the order in which it is first named. @throws Fault `conflict` */
export function planOf(changes: readonly Change[], cells: ReadonlyMap<string, Cell>, now: number): Step[] {
  const steps = new Map<string, Step>()
  for (const change of changes) {
    const place = placeOf(change)
    const name = nameOf(place)
    const before = cells.get(name) ?? NOTHING
    const step = steps.get(name) ?? { place, before, gained: [], lost: [] }
    steps.set(name, step)
    const version = step.next ? (step.next.json === undefined ? 0 : step.next.version) : before.version
    if (change.expects !== undefined && change.expects !== version)
      throw new Fault('conflict', { table: change.table.name, key: change.key })
    if (change.check) continue
    if (!change.row && version === 0) continue
    const stamp = nextStamp(before, now)
    step.next = change.row ? { json: JSON.stringify(change.row), version: version + 1, stamp } : { version: 0, stamp }
  }
  for (const step of steps.values())
    if (step.next)
      Object.assign(step, moved(entriesOf(step.place, step.before.json), entriesOf(step.place, step.next.json)))
  return [...steps.values()]
}

const NOTHING: Cell = { version: 0, token: null, stamp: 0 }

export function byHome(steps: readonly Step[]): Step[][] {
  const homes = new Map<string, Step[]>()
  for (const step of steps) {
    const all = homes.get(step.place.home)
    if (all) all.push(step)
    else homes.set(step.place.home, [step])
  }
  return [...homes.values()]
}

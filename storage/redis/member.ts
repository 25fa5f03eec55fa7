/** The names that a node has among the living: `{run}.{number}~{node}`, another number whenever it had to come back. */
import { randomBytes } from 'node:crypto'

/** Of more earlier members the oldest are left to lapse. */
const MAX_PAST = 8

export class Member {
  readonly run = randomBytes(6).toString('hex')
  readonly node: string
  #number = 1
  /** Nothing was written under it yet, and it is not among the living. */
  isNew = true
  /** Earlier members of this run that may still count as living. */
  past: string[] = []

  constructor(node: string) {
    this.node = node
  }

  get name(): string {
    return `${this.run}.${String(this.#number).padStart(6, '0')}~${this.node}`
  }

  renew(): void {
    if (this.isNew) return
    this.past = [...this.past, this.name].slice(-MAX_PAST)
    this.#number += 1
    this.isNew = true
  }
}

export const nodeOf = (member: string): string => member.slice(member.indexOf('~') + 1)
export const runOf = (member: string): string => member.slice(0, member.indexOf('.'))

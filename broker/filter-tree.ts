/** Topic filters by their levels: what it costs to find those that take a name does not grow with how many there are. */

interface Node<T> {
  next: Map<string, Node<T>>
  /** Of the filter that ends here. */
  own?: T
  /** Of the filter that goes on with `#`: it takes this level and all below [MQTT-4.7.1-2]. */
  rest?: T
}

export class FilterTree<T> {
  readonly #root: Node<T> = { next: new Map() }

  constructor(filters: Iterable<readonly [filter: string, value: T]>) {
    for (const [filter, value] of filters) this.#add(filter.split('/'), value)
  }

  #add(levels: readonly string[], value: T): void {
    let at = this.#root
    for (const level of levels) {
      if (level === '#') {
        at.rest = value
        return
      }
      let next = at.next.get(level)
      if (!next) {
        next = { next: new Map() }
        at.next.set(level, next)
      }
      at = next
    }
    at.own = value
  }

  /** Values of the filters that take a topic of ours, which begins with no `$`. */
  of(name: string): T[] {
    const found: T[] = []
    take(this.#root, name.split('/'), 0, found)
    return found
  }
}

function take<T>({ next, own, rest }: Node<T>, levels: readonly string[], at: number, found: T[]): void {
  if (rest !== undefined) found.push(rest)
  if (at === levels.length) {
    if (own !== undefined) found.push(own)
    return
  }
  const same = next.get(levels[at] as string)
  if (same) take(same, levels, at + 1, found)
  const any = next.get('+')
  if (any) take(any, levels, at + 1, found)
}

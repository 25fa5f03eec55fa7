/** One after the other, in the order of the calls, where they name the same thing; beside each other where they do not. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  run<Result>(names: readonly string[], work: () => Promise<Result>): Promise<Result> {
    const before = [...new Set(names)].flatMap(name => this.#last.get(name) ?? [])
    const turn = before.length === 0 ? work() : Promise.all(before).then(work)
    const settled = turn.catch(() => {})
    for (const name of names) this.#last.set(name, settled)
    void settled.then(() => {
      for (const name of names) if (this.#last.get(name) === settled) this.#last.delete(name)
    })
    return turn
  }
}

/** The filters of a session, as far as the client can know of them. */

/** By a SUBACK; or asked for without an answer, so that it may never have been; or taken back, so that it may be gone. */
export type Hold = 'held' | 'asked' | 'doubted'

export const HELD: readonly Hold[] = ['held']
export const SOUGHT: readonly Hold[] = ['held', 'asked']
export const ANY: readonly Hold[] = ['held', 'asked', 'doubted']

export class Filters extends Map<string, Hold> {
  #any(topics: string, states: readonly Hold[]): boolean {
    return [...this].some(([filter, is]) => filter.endsWith(topics) && states.includes(is))
  }

  /** Whether a filter in one of those states takes the entries of a conversation. */
  take(conversation: string, states: readonly Hold[]): boolean {
    return this.#any('/inbox', states) || (conversation === 'g:ops' && this.#any('/message', states))
  }

  /** Where they come: on the inbox if any filter takes that. */
  topics(user: string, conversation: string): string[] {
    const inbox = `im/u/${user}/inbox`
    if (this.#any('/inbox', HELD) || conversation !== 'g:ops') return [inbox]
    return this.#any('/inbox', ANY) ? [inbox, 'im/g/ops/message'] : ['im/g/ops/message']
  }

  /** It cannot be told whether the session is the one that held them. */
  doubt(): void {
    for (const filter of this.keys()) this.set(filter, 'doubted')
  }
}
